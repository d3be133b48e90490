"""One option for the folder of everything that a command writes."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import dict_to_namespace

from command_line.output_folder import place_outputs
from tests.support import toy_task


def test_training_writes_to_one_folder_only(tmp_path: Path) -> None:
    config = toy_task.write_config(tmp_path / "config")
    toy_task.run("fit", f"--config={config}", f"--output_dir={tmp_path / 'out'}", "--trainer.max_epochs=1")
    assert {path.name for path in (tmp_path / "config").iterdir()} == {"toy.yaml"}
    run = tmp_path / "out" / "version_0"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (run / "metrics.csv").is_file()
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert record["trainer"]["default_root_dir"] == str(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"version_0"}


def test_a_run_goes_on_in_its_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = toy_task.write_config(tmp_path / "config")
    words = ["fit", f"--config={config}", f"--output_dir={tmp_path / 'out'}"]
    toy_task.run(*words, "--trainer.max_epochs=1")
    toy_task.run(*words, "--ckpt_path=last", "--trainer.max_epochs=2")
    last = tmp_path / "out" / "version_1" / "checkpoints" / "last.ckpt"
    assert toy_task.load(last)["epoch"] == 1
    assert f"--ckpt_path last: {tmp_path}/out/version_0/checkpoints/last.ckpt" in capfd.readouterr().err


def test_every_folder_is_replaced() -> None:
    loggers = [
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "a", "name": "x"}},
        {"class_path": "WandbLogger", "init_args": {"save_dir": "b", "name": "kept", "project": "p"}},
        {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "c", "name": "y"}},
    ]
    callbacks = [{"class_path": "ModelCheckpoint", "init_args": {"dirpath": "elsewhere"}}, {"class_path": "EMA"}]
    trainer = {"default_root_dir": "d", "logger": loggers, "callbacks": callbacks}
    data = {"class_path": "Data", "init_args": {"output_dir": "e"}}
    settings = dict_to_namespace({"trainer": trainer, "data": data})
    place_outputs(settings, "out")
    placed = settings.trainer.logger
    assert [logger.init_args.save_dir for logger in placed] == ["out"] * 3
    assert [logger.init_args.name for logger in placed] == ["", "kept", ""]
    assert settings.trainer.callbacks[0].init_args.dirpath is None
    assert (settings.trainer.default_root_dir, settings.data.init_args.output_dir) == ("out", "out")
    settings.trainer.logger, settings.trainer.callbacks = False, None
    place_outputs(settings, "again")
    assert settings.trainer.default_root_dir == "again"
