"""Whole jobs: what is repeated, what is not, and messages in terms of the pipeline's options."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cli import main
from command_line.main import exit_with_message
from formats.errors import InputError
from formats.images import write_png
from prepare import pipeline
from prepare.pipeline import Job, Stage, newest_samples, samples_folder
from prepare.training_runs import best_checkpoint, logged_values, newest_checkpoint
from tests.support.commands import run_command

# Stands in for cli.py: records its words, and fails on the word "fail".
FAKE_CLI = """
import pathlib, sys
with pathlib.Path("calls").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if "fail" in sys.argv:
    print("a warning about --data.resize", file=sys.stderr)
    sys.exit("error: a.png: is 3×3 pixels. Pass --data.resize true.")
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File in which the stand-in for cli.py records its calls."""
    (tmp_path / "fake.py").write_text(FAKE_CLI)
    monkeypatch.setattr(pipeline, "CLI", tmp_path / "fake.py")
    return tmp_path / "calls"


def run_stages(out: Path, *words: str) -> None:
    job = Job(out)
    for number, word in enumerate(words):
        job.run(Stage(f"stage{number}", tuple(word.split()), {"resize": "--data.resize"}))


def test_finished_stages_are_not_repeated(calls: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="stage 'stage1': failed with status 1"):
        run_stages(tmp_path / "out", "a", "fail", "c")
    run_stages(tmp_path / "out", "a", "b", "c")
    assert calls.read_text().split() == ["a", "fail", "b", "c"]
    run_stages(tmp_path / "out", "a", "b", "c")
    assert calls.read_text().split() == ["a", "fail", "b", "c"]
    assert "stage2: finished before" in capfd.readouterr().out
    run_stages(tmp_path / "out", "a", "x", "c")  # stages after a changed one are repeated
    assert calls.read_text().split() == ["a", "fail", "b", "c", "x", "c"]


def test_remedies_name_the_options_of_the_pipeline(
    calls: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError):
        run_stages(tmp_path / "out", "fail")
    lines = capfd.readouterr().err.splitlines()
    assert "a warning about --data.resize" in lines
    assert "error: a.png: is 3×3 pixels. Pass --resize true." in lines


def test_settings_become_options_of_the_stages(calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "out" / "training" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    sampling = {"sampler": "heun", "num_steps": 9, "time_shift": 0.2, "guidance_interval_start": 0.0}
    torch.save({"state_dict": {}, "hyper_parameters": {**sampling, "guidance_scale": 1.5}}, checkpoint)
    for name in ("newest_checkpoint", "best_checkpoint"):
        monkeypatch.setattr(pipeline, name, lambda folder: checkpoint if calls.exists() else None)
    monkeypatch.setattr(pipeline, "write_job_report", lambda *_: None)  # the stages write nothing
    settings = ["--data_dir=a", "--output_dir=out", "--resize", "--image_size", "128", "--devices=2", "--evaluate"]
    overlay = ["--overlays", "overlays/cpu.yaml"]
    more = ["--lr", "2e-4", "--precision", "32-true", "--gradient_checkpointing", "--num_steps=20"]
    main(["pipeline", "microdoppler", *settings, *overlay, *more, "--batch_size=3", "--generate_user_ids", "1", "2"])
    latents, train, generate, evaluate = calls.read_text().splitlines()
    for word in ("--data.data_dir=a", "--data.resize=true", "--data.image_size=128", "--trainer.devices=2"):
        assert word in latents.split()
    assert {"fit", "--data.batch_size=3", "--trainer.max_epochs=400"} <= set(train.split())
    assert "configs/overlays/cpu.yaml" in train
    assert "--data.user_ids=[1, 2]" in generate
    assert f"--ckpt_path={checkpoint}" in generate
    assert {"--model.learning_rate=0.0002", "--model.gradient_checkpointing=true"} <= set(train.split())
    assert "--output_dir=out/training" in train.split()
    assert "--trainer.precision=32-true" in set(train.split()) & set(generate.split())
    both = set(generate.split()) & set(evaluate.split())
    assert {"--model.sampler=heun", "--model.guidance_scale=1.5"} <= both
    for line in (generate, evaluate):  # the last one counts
        assert [word for word in line.split() if "num_steps" in word][-1] == "--model.num_steps=20"
    assert "overlays/linear_latents.yaml" in train
    assert {"test", "--trainer.logger=false", "--data.data_dir=out/latents"} <= set(evaluate.split())
    assert [line for line in (latents, train, generate, evaluate) if "None" in line] == []


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    stage = '{"name": "train", "words": [], "seconds": "1"}'
    lists = [f'{{"finished": {text}}}' for text in ("3", "[3]", "[{}]", f"[{stage}]")]
    for text in ("{", "[]", "{}", *lists):
        (tmp_path / "pipeline.json").write_text(text)
        with pytest.raises(InputError, match=r"pipeline\.json: (is broken|cannot be read|does not hold)"):
            Job(tmp_path)


def test_newest_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for number in (1, 0):
        path = tmp_path / f"version_{number}" / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (100 - number, 100 - number))
    assert newest_checkpoint(tmp_path) == path


def write_run(folder: Path, name: str, losses: str, *checkpoints: str) -> None:
    """Write the files of a run: its validation losses and empty checkpoints."""
    (folder / name / "checkpoints").mkdir(parents=True)
    (folder / name / "metrics.csv").write_text("step,val/loss\n" + "".join(f"1,{loss}\n" for loss in losses.split()))
    for checkpoint in checkpoints:
        (folder / name / "checkpoints" / checkpoint).touch()


def test_best_checkpoint_of_a_continued_training(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    write_run(tmp_path, "version_0", "3 1 2", "last.ckpt")
    assert best_checkpoint(tmp_path) == tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    (tmp_path / "version_0" / "checkpoints" / "best.ckpt").touch()
    write_run(tmp_path, "version_1", "2 1.5", "best.ckpt", "last.ckpt")  # worse than before it was continued
    assert best_checkpoint(tmp_path) == tmp_path / "version_0" / "checkpoints" / "best.ckpt"
    write_run(tmp_path, "version_2", "2 0.5 4", "best.ckpt")
    assert best_checkpoint(tmp_path) == tmp_path / "version_2" / "checkpoints" / "best.ckpt"
    assert logged_values(tmp_path / "version_2" / "metrics.csv", "val/loss") == [2, 0.5, 4]
    (tmp_path / "version_2" / "metrics.csv").write_text("val/loss\nx\n")
    with pytest.raises(InputError, match="a cell that is not a number"):
        best_checkpoint(tmp_path)


def test_newest_samples(tmp_path: Path) -> None:
    write_run(tmp_path / "training", "version_0", "1", "best.ckpt")
    assert newest_samples(tmp_path) == samples_folder(tmp_path) == tmp_path / "samples"
    for number, folder in enumerate(("samples", "samples/guidance_2_steps_5")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "generation.json").touch()
        os.utime(tmp_path / folder / "generation.json", (100 + number, 100 + number))
    assert newest_samples(tmp_path) == tmp_path / "samples" / "guidance_2_steps_5"
    os.utime(tmp_path / "samples" / "generation.json", (200, 200))
    assert newest_samples(tmp_path) == tmp_path / "samples"


def test_one_guidance_scale(tmp_path: Path) -> None:
    words = ["pipeline", "microdoppler", "--data_dir=a", "--output_dir=out", "--tune_guidance", "--guidance_scale=2"]
    with pytest.raises(InputError, match="--guidance_scale: is given together with --tune_guidance"):
        main(words)


@pytest.mark.slow
def test_images_of_another_size_are_resized_when_the_message_is_followed(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(4):
            image = torch.randint(0, 255, (100, 120, 3), dtype=torch.uint8).numpy()
            write_png(tmp_path / "images" / split / "ID_1" / f"{number}.png", image)
    words = ["pipeline", "microdoppler", "--data_dir=images", "--output_dir=out", "--devices=1"]
    failed = run_command(*words, cwd=tmp_path)
    assert failed.returncode == 1
    assert "Pass --resize squeeze to change its aspect to a square, or --resize pad" in failed.stderr
    assert "--data." not in failed.stderr
    again = run_command(*words, "--resize", "true", "--max_epochs=few", cwd=tmp_path)
    assert "--max_epochs: 'few' is not a valid value" in again.stderr
    again = run_command(*words, "--resize", "true", "--imagenet_statistics=nowhere.pt", cwd=tmp_path)
    assert "nowhere.pt" in again.stderr
    assert "pixels" not in again.stderr


@pytest.mark.slow
def test_pipeline_continues_where_it_failed(tmp_path: Path) -> None:
    """Prepare, then the three stages; the second attempt starts with the stage that failed."""
    sizes = ["--num_users=2", "--train_per_user=10", "--val_per_user=2"]
    main(["prepare", "microdoppler-sample", "--out=walkers", *sizes])
    network = {"hidden_size": 32, "depth": 1, "num_heads": 2}
    small = {"model": {"init_args": {"network": network, "num_steps": 3}}, "trainer": {"check_val_every_n_epoch": 1}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    words = ["pipeline", "microdoppler", "--data_dir", "walkers", "--output_dir", "out", "--batch_size", "4"]
    words += ["--max_epochs", "2", "--devices", "1", "--num_samples_per_user", "2"]
    words += ["--overlays", "overlays/tiny_microdoppler.yaml", "small.yaml"]

    failed = run_command(*words, "--generate_user_ids", "1", "9", cwd=tmp_path)
    assert failed.returncode == 1
    assert "user 9: " in failed.stderr
    assert "stage 'generate': failed" in failed.stderr.strip().splitlines()[-1]
    again = run_command(*words, "--generate_user_ids", "1", "2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "latents: finished before" in again.stdout
    assert "train: finished before" in again.stdout
    names = sorted(path.name for path in (tmp_path / "out" / "samples").glob("micro_doppler_user*"))
    assert names == [f"micro_doppler_user0{user}_00{number}.png" for user in (1, 2) for number in (1, 2)]
    assert "validation loss" in again.stdout
    longer = run_command(*words, "--generate_user_ids", "1", "2", "--max_epochs", "3", cwd=tmp_path)
    assert "train: continuing from" in longer.stdout
    assert longer.returncode == 0, longer.stderr
    (generated,) = [stage for stage in recorded(tmp_path) if stage["name"] == "generate"]
    (checkpoint,) = [word for word in generated["words"] if word.startswith("--ckpt_path=")]
    assert checkpoint.endswith("/checkpoints/best.ckpt")
    (folder,) = [word.partition("=")[2] for word in generated["words"] if word.startswith("--data.output_dir=")]
    assert len(list((tmp_path / folder).glob("micro_doppler_user*"))) == 4
    other = run_command(*words, "--generate_user_ids", "1", "2", "--max_epochs", "3", "--num_steps", "2", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    assert len(list((tmp_path / folder / "guidance_1_steps_2").glob("micro_doppler_user*"))) == 4
    assert f"grid of samples: {folder}/guidance_1_steps_2" in other.stdout
    record = recorded(tmp_path)
    assert [stage["name"] for stage in record] == ["latents", "train", "generate"]
    assert not any("ckpt_path" in word for word in record[1]["words"])


def recorded(folder: Path) -> list[dict[str, Any]]:
    finished: list[dict[str, Any]] = json.loads((folder / "out" / "pipeline.json").read_text())["finished"]
    return finished


SLOW_CLI = """
import pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path("saved").write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
pathlib.Path("started").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_job_stops_its_stage_and_does_not_record_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The stage's command gets the signal once, and the job waits until it has saved."""
    (tmp_path / "fake.py").write_text(SLOW_CLI)
    monkeypatch.setattr(pipeline, "CLI", tmp_path / "fake.py")

    def job() -> None:
        sys.stderr = (tmp_path / "errors").open("w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        exit_with_message(lambda: run_stages(tmp_path / "out", "a"))

    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    while not (tmp_path / "started").exists():
        assert process.is_alive(), (tmp_path / "errors").read_text()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    assert (tmp_path / "saved").read_text() == str(int(number))
    assert not (tmp_path / "out" / "pipeline.json").exists()
    assert "stage0: stopped; the same command continues from here" in (tmp_path / "errors").read_text()


def test_a_resumed_stage_is_recorded_without_its_checkpoint(calls: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "out")
    job.run(Stage("train", ("fit",)), ["--ckpt_path=last.ckpt"])
    assert calls.read_text() == "fit --ckpt_path=last.ckpt\n"
    assert job.finished[0]["words"] == ["fit"]
    assert json.loads((tmp_path / "out" / "pipeline.json").read_text())["finished"] == job.finished
