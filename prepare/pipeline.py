"""Whole jobs as sequences of commands. A repeated job continues where it stopped."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

import configs
from formats.atomic import write_json
from formats.errors import InputError
from formats.local_files import read_json_object
from prepare.job_report import write_job_report
from prepare.training_runs import best_checkpoint, logged_values, newest_checkpoint

COMPARISON = "real_and_generated.png"
GENERATION = "generation.json"  # written by `predict` next to samples
CLI = Path(__file__).resolve().parents[1] / "cli.py"

# Option of the pipeline → option of the stage's command.
SIMULATION_OPTIONS = {"num_users": "--num_users"}
EXTRACTION_OPTIONS = {
    "data_dir": "--data.data_dir",
    "devices": "--trainer.devices",
    "vavae_path": "--model.tokenizer_path",
    "imagenet_statistics": "--data.imagenet_statistics",
    "resize": "--data.resize",
    "split": "--data.split",
    "image_size": "--data.image_size",
}
TRAINING_OPTIONS = {
    "devices": "--trainer.devices",
    "precision": "--trainer.precision",
    "batch_size": "--data.batch_size",
    "max_epochs": "--trainer.max_epochs",
    "lr": "--model.learning_rate",
    "gradient_checkpointing": "--model.gradient_checkpointing",
}
SAMPLING_OPTIONS = {"guidance_scale": "--model.guidance_scale", "num_steps": "--model.num_steps"}
GENERATION_OPTIONS = {
    "num_samples_per_user": "--data.samples_per_user",
    "generate_user_ids": "--data.user_ids",
    "devices": "--trainer.devices",
    "precision": "--trainer.precision",
}


@dataclass(frozen=True)
class Stage:
    """One command of a job.

    Attributes:
        name: Name in the report.
        words: Arguments after ``cli.py``.
        options: Pipeline option → command option, for error messages.
    """

    name: str
    words: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    def in_terms_of_pipeline(self, message: str) -> str:
        """Return an error message with the options of the pipeline in place of those of the command.

        Example:
            >>> Stage("latents", (), {"resize": "--data.resize"}).in_terms_of_pipeline("Pass --data.resize true.")
            'Pass --resize true.'
        """
        for name, option in self.options.items():
            message = message.replace(option, f"--{name}")
        return message


class Job:
    """Runs stages, each as its own process, and records the finished ones in ``pipeline.json``.

    A stage is finished if the same words succeeded once, after the same stages before it.
    """

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self.record_path = output_dir / "pipeline.json"
        self.finished: list[dict[str, Any]] = []
        if self.record_path.is_file():
            self.finished = read_finished(self.record_path)
        self.position = 0
        self.seconds: dict[str, float] = {}

    def run(self, stage: Stage, more: Sequence[str] = ()) -> None:
        """Run a stage unless it is finished.

        Args:
            stage: The stage.
            more: Arguments for this attempt only, which the record does not hold.

        Raises:
            InputError: The stage failed; its own message has been printed.
        """
        key = {"name": stage.name, "words": list(stage.words)}
        if self.position < len(self.finished):
            before = self.finished[self.position]
            if {name: before[name] for name in key} == key:
                print(f"{stage.name}: finished before", flush=True)
                self.seconds[stage.name] = before["seconds"]
                self.position += 1
                return
            self.finished = self.finished[: self.position]
        words = (*stage.words, *more)
        print(f"{stage.name}: python cli.py {' '.join(words)}", flush=True)
        start = time.monotonic()
        status = _run_command(stage, words)
        if status:
            remedy = "See its message above; the same command continues from here."
            raise InputError(f"stage '{stage.name}'", f"failed with status {status}", remedy)
        self.seconds[stage.name] = round(time.monotonic() - start, 1)
        self.finished.append({**key, "seconds": self.seconds[stage.name]})
        self.position += 1
        write_json(self.record_path, {"finished": self.finished})


def read_finished(path: Path) -> list[dict[str, Any]]:
    """Read the finished stages out of ``pipeline.json``.

    Raises:
        InputError: The file is broken.
    """
    remedy = "Remove it to run every stage again."
    finished = read_json_object(path, remedy).get("finished")
    if not isinstance(finished, list) or not all(isinstance(stage, dict) for stage in finished):
        raise InputError(path, "is broken: it does not list finished stages", remedy)
    for stage in finished:
        name, words, seconds = (stage.get(key) for key in ("name", "words", "seconds"))
        is_timed = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        is_worded = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not (isinstance(name, str) and is_timed and is_worded):
            raise InputError(path, "is broken: it does not list finished stages", remedy)
    return finished


def read_guidance_scale(path: Path) -> float:
    """Read the guidance scale that ``prepare tune-guidance`` chose.

    Raises:
        InputError: The file is broken.
    """
    scale = read_json_object(path, "Remove it to choose again.").get("guidance_scale")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale):
        raise InputError(path, f"is broken: guidance_scale is {scale!r}", "Remove it to choose again.")
    return float(scale)


def _run_command(stage: Stage, words: Sequence[str]) -> int:
    """Run a stage's command, and pass on its messages.

    The command has a session of its own: it gets the signals that stop the job from here, and once.
    """
    command = [sys.executable, str(CLI), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    with process:
        try:
            _pass_on_messages(stage, process)
        except (KeyboardInterrupt, SystemExit) as stop:
            process.send_signal(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
            _pass_on_messages(stage, process)
            process.wait()
            print(f"{stage.name}: stopped; the same command continues from here", file=sys.stderr, flush=True)
            raise
    return process.returncode


def _pass_on_messages(stage: Stage, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(stage.in_terms_of_pipeline(line) if line.startswith("error: ") else line)
        sys.stderr.flush()


def samples_folder(output_dir: Path) -> Path:
    """Return the folder for samples of the best training run; those of an earlier run stay in theirs."""
    checkpoint = best_checkpoint(output_dir / "training")
    version = checkpoint.parents[1].name if checkpoint else "version_0"
    return output_dir / ("samples" if version == "version_0" else f"samples_{version}")


def newest_samples(output_dir: Path) -> Path:
    """Return the folder of the samples generated last: that of the run, or of a set with other sampling in it."""
    folder = samples_folder(output_dir)
    records = sorted(folder.rglob(GENERATION), key=lambda path: path.stat().st_mtime_ns)
    return records[-1].parent if records else folder


def microdoppler(
    data_dir: Path,
    output_dir: Path,
    vavae_path: str | None = None,
    imagenet_statistics: str | None = None,
    resize: bool | Literal["squeeze", "pad"] = False,
    split: float | None = None,
    image_size: int | None = None,
    batch_size: int = 32,
    max_epochs: int = 400,
    lr: float | None = None,
    devices: str = "auto",
    precision: str = "auto",
    gradient_checkpointing: bool = False,
    generate_user_ids: list[int] | None = None,
    num_samples_per_user: int = 4,
    guidance_scale: float | None = None,
    num_steps: int | None = None,
    overlays: list[Path] | None = None,
    evaluate: bool = False,
    tune_guidance: bool = False,
) -> None:
    """Extract latents from spectrograms, train a generator on them, and generate spectrograms.

    Repeated after a failure, it continues with the stage that failed, and within training from the last checkpoint.
    Samples are generated from the best checkpoint. Repeated with another guidance scale or number of steps, it adds a
    set of samples in a folder named by them.

    Args:
        data_dir: Folder with train/ID_<n>/*.png and val/ID_<n>/*.png.
        output_dir: Folder for latents, training, samples and pipeline.json.
        vavae_path: Published VA-VAE, or another tokenizer, as a path or a name `hf://owner/repository/file` on the hub;
            by default LappedPCA is fitted on the training images.
        imagenet_statistics: Latent statistics published with the VA-VAE; by default looked for next to its file.
        resize: Resize images of other sizes to ``image_size``: squeeze (or true) changes the aspect to a square, pad
            surrounds them with their median colour.
        split: Share of each user's recordings for training, where the folder has no splits; by default 0.8.
        image_size: Side of the images in pixels; by default 256. Another size needs an overlay with the network's
            input_size.
        batch_size: Latents per device and step.
        max_epochs: Epochs of training.
        lr: Peak learning rate of training; by default that of the configuration.
        devices: Number of GPUs or processes, or auto.
        precision: Precision of training and generation, such as 32-true or bf16-mixed, or auto.
        gradient_checkpointing: Train with less memory, in a third more time.
        generate_user_ids: Users to generate, as in the folder names; all by default.
        num_samples_per_user: Samples of each user.
        guidance_scale: Guidance scale of the samples; by default that of the configuration.
        num_steps: Evaluations of the network per sample; by default that of the configuration.
        overlays: Configuration files, of your own or shipped, added to configs/dit_microdoppler.yaml.
        evaluate: Evaluate the generator against the validation images at the end.
        tune_guidance: Choose the guidance scale by measures of generated images, see `prepare tune-guidance`.
    """
    settings = {
        "data_dir": data_dir,
        "vavae_path": vavae_path,
        "imagenet_statistics": imagenet_statistics,
        "resize": resize or None,
        "split": split,
        "image_size": image_size,
        "batch_size": batch_size,
        "max_epochs": max_epochs,
        "lr": lr,
        "devices": devices,
        "precision": precision,
        "gradient_checkpointing": gradient_checkpointing or None,
        "generate_user_ids": generate_user_ids,
        "num_samples_per_user": num_samples_per_user,
        "guidance_scale": guidance_scale,
        "num_steps": num_steps,
    }
    if tune_guidance and guidance_scale is not None:
        raise InputError("--guidance_scale", "is given together with --tune_guidance", "Leave one of them out.")
    job = Job(output_dir)
    files = [configs.find_config(path) for path in overlays or []]
    _run_microdoppler_stages(job, settings, files, evaluate, tune_guidance)
    _report(job, data_dir)


def demo(output_dir: Path = Path("runs/demo"), num_users: int = 5, tune_guidance: bool = False) -> None:
    """Run the whole micro-Doppler task on simulated walking people, small enough for a laptop.

    Args:
        output_dir: Folder for all files.
        num_users: Number of simulated users.
        tune_guidance: Choose the guidance scale by measures of generated images, which takes several minutes more.
    """
    job, data_dir = Job(output_dir), output_dir / "spectrograms"
    simulation = ("prepare", "microdoppler-sample", f"--out={data_dir}", f"--num_users={num_users}")
    job.run(Stage("simulate", simulation, SIMULATION_OPTIONS))
    settings = {"data_dir": data_dir, "devices": "1", "num_samples_per_user": 8}
    overlays = [configs.FOLDER / "overlays" / "tiny_microdoppler.yaml"]
    _run_microdoppler_stages(job, settings, overlays, evaluate=True, tune_guidance=tune_guidance)
    samples = newest_samples(output_dir)
    where = (f"--data_dir={data_dir}", f"--samples_dir={samples}", f"--out={output_dir / COMPARISON}")
    job.run(Stage("compare", ("prepare", "spectrogram-comparison", *where)))
    _report(job, data_dir)


def _run_microdoppler_stages(
    job: Job, settings: Mapping[str, Any], overlays: list[Path], evaluate: bool, tune_guidance: bool
) -> None:
    out = job.output_dir
    latents, runs = out / "latents", out / "training"
    extraction = [f"--config={configs.FOLDER / 'microdoppler_extract_latents.yaml'}"]
    extraction += [*_options(EXTRACTION_OPTIONS, settings), f"--data.output_dir={latents}"]
    job.run(Stage("latents", ("predict", *extraction), EXTRACTION_OPTIONS))

    linear = [configs.FOLDER / "overlays" / "linear_latents.yaml"] if settings.get("vavae_path") is None else []
    files = [configs.FOLDER / "dit_microdoppler.yaml", *linear, *overlays]
    experiment = [*(f"--config={path}" for path in files), f"--data.data_dir={latents}"]
    training = [*experiment, f"--output_dir={runs}", *_options(TRAINING_OPTIONS, settings)]
    run_training(job, Stage("train", ("fit", *training), TRAINING_OPTIONS), runs)

    checkpoint = best_checkpoint(runs)
    assert checkpoint is not None
    sampling = [*_sampling(checkpoint), *_options(SAMPLING_OPTIONS, settings)]
    if tune_guidance:
        sampling.append(f"--model.guidance_scale={_tuned_guidance(job, checkpoint, settings['data_dir'])}")
    generation = [f"--config={configs.FOLDER / 'generate_microdoppler.yaml'}", f"--ckpt_path={checkpoint}"]
    generation += [*_options(GENERATION_OPTIONS, settings), f"--data.output_dir={samples_folder(out)}", *sampling]
    job.run(Stage("generate", ("predict", *generation), {**GENERATION_OPTIONS, **SAMPLING_OPTIONS}))
    if evaluate:
        evaluation = [*experiment, f"--trainer.devices={settings['devices']}", f"--ckpt_path={checkpoint}", *sampling]
        evaluation += ["--trainer.logger=false", f"--trainer.default_root_dir={out / 'evaluation'}"]
        job.run(Stage("evaluate", ("test", *evaluation), TRAINING_OPTIONS))


def _sampling(checkpoint: Path) -> list[str]:
    """Return the options of the sampler that the generator was trained with."""
    from formats.training_checkpoint import read_training_checkpoint  # imports PyTorch, which help does without

    trained = read_training_checkpoint(checkpoint)["hyper_parameters"]
    interval = ("guidance_interval_start", "guidance_interval_end")
    names = ("sampler", "num_steps", "time_shift", *interval, "guidance_scale")
    return [f"--model.{name}={trained[name]}" for name in names if name in trained]


def _tuned_guidance(job: Job, checkpoint: Path, data_dir: Path) -> float:
    """Choose the guidance scale by measures of generated images."""
    chosen = job.output_dir / "guidance.json"
    words = (f"--checkpoint={checkpoint}", f"--data_dir={data_dir}", f"--out={chosen}")
    job.run(Stage("tune guidance", ("prepare", "tune-guidance", *words)))
    return read_guidance_scale(chosen)


def _options(options: Mapping[str, str], settings: Mapping[str, Any]) -> list[str]:
    """Return the options of a command for the settings that are not None."""
    values = {option: settings.get(name) for name, option in options.items()}
    return [f"{option}={_as_yaml(value)}" for option, value in values.items() if value is not None]


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_training(job: Job, stage: Stage, runs: Path) -> None:
    """Train, from the last checkpoint if an earlier attempt left one."""
    finished = job.position < len(job.finished) and job.finished[job.position]["words"] == list(stage.words)
    checkpoint = newest_checkpoint(runs)
    if finished or checkpoint is None:
        job.run(stage)
        return
    print(f"train: continuing from {checkpoint}", flush=True)
    job.run(stage, [f"--ckpt_path={checkpoint}"])


def _report(job: Job, data_dir: Path) -> None:
    out, table = job.output_dir, Table(title="micro-Doppler generator", title_justify="left")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    newest = newest_checkpoint(out / "training")
    for label, name in (("training loss", "train/loss_epoch"), ("validation loss", "val/loss")):
        values = logged_values(newest.parents[1] / "metrics.csv", name) if newest else []
        if values:
            table.add_row(label, f"{values[-1]:.4f}")
    evaluation = out / "evaluation" / "evaluation.json"
    if evaluation.is_file():
        results = read_json_object(evaluation, "Remove it, and run the command again.")
        table.add_row("quality bars met", f"{results['bars_met']} of {results['num_bars']}")
        table.add_row(f"worst: {results['worst_measure']}", f"{results[results['worst_measure']]:.3f}")
        for label, name in (
            ("identification accuracy, real → generated", "accuracy_real_to_generated"),
            ("identification accuracy, real → real", "accuracy_real_to_real"),
            ("within-user diversity, generated / real", "within_user_diversity_classifier_ratio"),
        ):
            table.add_row(label, f"{results[name]:.3f}")
    for name, seconds in job.seconds.items():
        table.add_row(f"time of stage '{name}'", f"{seconds:.0f} s")
    table.add_row("time of all stages", f"{sum(job.seconds.values()):.0f} s")
    Console().print(table)
    print(f"grid of samples: {newest_samples(out) / 'micro_doppler_grid.png'}")
    print(f"run folder:      {out}")
    write_job_report(out, job.seconds, data_dir, newest_samples(out))
