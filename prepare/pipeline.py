"""Whole jobs as a row of commands, each remembered when it is done, so that a repeated job goes on where it stopped."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.table import Table

from formats.atomic import write_json, write_text
from formats.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
COMPARISON = "real_and_generated.png"


@dataclass(frozen=True)
class Stage:
    """One command of a job: its name and the words after ``cli.py``."""

    name: str
    words: tuple[str, ...]


class Job:
    """Runs stages, each as its own process, and remembers the finished ones in ``pipeline.json``.

    A stage is finished when the same words have once ended well after the same stages before it.
    """

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self.record_path = output_dir / "pipeline.json"
        self.finished: list[dict] = []
        if self.record_path.is_file():
            try:
                self.finished = json.loads(self.record_path.read_text(encoding="utf-8"))["finished"]
            except (ValueError, KeyError) as fault:
                remedy = "Remove it to run every stage again."
                raise InputError(self.record_path, f"is broken: {fault}", remedy) from fault
        self.position = 0
        self.seconds: dict[str, float] = {}

    def run(self, stage: Stage) -> None:
        """Run a stage unless it is finished.

        Raises:
            InputError: The stage failed; its own message stands above.
        """
        key = {"name": stage.name, "words": list(stage.words)}
        if self.position < len(self.finished):
            before = self.finished[self.position]
            if {name: before[name] for name in key} == key:
                print(f"{stage.name}: done before", flush=True)
                self.seconds[stage.name] = before["seconds"]
                self.position += 1
                return
            self.finished = self.finished[: self.position]
        print(f"{stage.name}: python cli.py {' '.join(stage.words)}", flush=True)
        start = time.monotonic()
        status = subprocess.run([sys.executable, str(ROOT / "cli.py"), *stage.words], check=False).returncode
        if status:
            fault = f"failed with status {status}"
            raise InputError(
                f"stage '{stage.name}'", fault, "See its message above; the same command goes on from here."
            )
        self.seconds[stage.name] = round(time.monotonic() - start, 1)
        self.finished.append({**key, "seconds": self.seconds[stage.name]})
        self.position += 1
        write_json(self.record_path, {"finished": self.finished})


def newest_checkpoint(training_dir: Path) -> Path | None:
    """The ``last.ckpt`` written most recently by the runs in a folder."""
    found = sorted(training_dir.glob("version_*/checkpoints/last*.ckpt"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def microdoppler(
    data_dir: Path,
    output_dir: Path,
    vavae_path: Path | None = None,
    imagenet_statistics: Path | None = None,
    batch_size: int = 32,
    max_epochs: int = 400,
    devices: str = "auto",
    generate_user_ids: list[int] | None = None,
    num_samples_per_user: int = 4,
    overlays: list[Path] | None = None,
    evaluate: bool = False,
    tune: bool = False,
) -> None:
    """Spectrograms to generated spectrograms: extract latents, train, generate.

    Repeated after a failure, it goes on at the stage that failed, and within training at the last checkpoint.

    Args:
        data_dir: Folder with train/ID_<n>/*.png and val/ID_<n>/*.png.
        output_dir: Folder for latents, training, samples and pipeline.json.
        vavae_path: Published VA-VAE, or another tokenizer; without it LappedPCA is fitted on the training images.
        imagenet_statistics: Latent statistics published with the VA-VAE.
        batch_size: Latents per device and step.
        max_epochs: Length of training.
        devices: Number of GPUs or processes, or auto.
        generate_user_ids: Users to generate, as in the folder names; all by default.
        num_samples_per_user: Samples of each.
        overlays: Configuration files laid over configs/dit_microdoppler.yaml.
        evaluate: Measure the generator against the validation images at the end.
        tune: Choose the guidance scale by measures of generated images, see `prepare tune-guidance`.
    """
    job = Job(output_dir)
    _microdoppler_stages(
        job,
        data_dir,
        vavae_path,
        imagenet_statistics,
        [f"--data.batch_size={batch_size}", f"--trainer.max_epochs={max_epochs}"],
        devices,
        generate_user_ids,
        num_samples_per_user,
        overlays or [],
        evaluate,
        tune,
    )
    _report(job)


def demo(output_dir: Path = Path("runs/demo"), num_users: int = 5) -> None:
    """The whole micro-Doppler task on simulated walking people, small enough for a laptop.

    Args:
        output_dir: Folder for everything.
        num_users: Simulated users.
    """
    job, data_dir = Job(output_dir), output_dir / "spectrograms"
    job.run(Stage("simulate", ("prepare", "microdoppler-sample", f"--out={data_dir}", f"--num_users={num_users}")))
    overlays = [CONFIGS / "overlays" / "tiny_microdoppler.yaml"]
    _microdoppler_stages(job, data_dir, None, None, [], "1", None, 8, overlays, evaluate=True, tune=True)
    where = (f"--data_dir={data_dir}", f"--samples_dir={output_dir / 'samples'}", f"--out={output_dir / COMPARISON}")
    job.run(Stage("compare", ("prepare", "spectrogram-comparison", *where)))
    _report(job)


def _microdoppler_stages(
    job: Job,
    data_dir: Path,
    vavae_path: Path | None,
    imagenet_statistics: Path | None,
    training: list[str],
    devices: str,
    user_ids: list[int] | None,
    samples_per_user: int,
    overlays: list[Path],
    evaluate: bool,
    tune: bool,
) -> None:
    out = job.output_dir
    latents, runs = out / "latents", out / "training"
    on_devices = f"--trainer.devices={devices}"
    extraction = [f"--data.data_dir={data_dir}", f"--data.output_dir={latents}", on_devices]
    if vavae_path is not None:
        extraction.append(f"--model.tokenizer_path={vavae_path}")
    if imagenet_statistics is not None:
        extraction.append(f"--data.imagenet_statistics={imagenet_statistics}")
    job.run(Stage("latents", ("predict", f"--config={CONFIGS / 'microdoppler_extract_latents.yaml'}", *extraction)))

    run_folder = out / "run_folder.yaml"
    if not run_folder.is_file():
        write_text(run_folder, yaml.safe_dump(_loggers(out)))
    configs = [f"--config={path}" for path in (CONFIGS / "dit_microdoppler.yaml", *overlays, run_folder)]
    common = [*configs, f"--data.data_dir={latents}", on_devices]
    _train(job, Stage("train", ("fit", *common, *training)), runs)

    checkpoint = newest_checkpoint(runs)
    assert checkpoint is not None
    wanted = [f"--data.samples_per_user={samples_per_user}", f"--data.output_dir={out / 'samples'}"]
    if user_ids is not None:
        wanted.append(f"--data.user_ids={user_ids}")
    sampling = _tuned_sampling(job, checkpoint, data_dir) if tune else ()
    generate = ("predict", f"--config={CONFIGS / 'generate_microdoppler.yaml'}", f"--ckpt_path={checkpoint}")
    job.run(Stage("generate", (*generate, *wanted, *sampling, on_devices)))
    if evaluate:
        where = ("--trainer.logger=false", f"--trainer.default_root_dir={out / 'evaluation'}")
        job.run(Stage("evaluate", ("test", *common, f"--ckpt_path={checkpoint}", *sampling, *where)))


def _tuned_sampling(job: Job, checkpoint: Path, data_dir: Path) -> tuple[str, ...]:
    """Options of the sampler as the checkpoint has it, with the guidance scale that measures best."""
    chosen = job.output_dir / "guidance.json"
    words = (f"--checkpoint={checkpoint}", f"--data_dir={data_dir}", f"--out={chosen}")
    job.run(Stage("tune guidance", ("prepare", "tune-guidance", *words)))
    scale = json.loads(chosen.read_text(encoding="utf-8"))["guidance_scale"]
    settings = torch.load(checkpoint, map_location="cpu", weights_only=True)["hyper_parameters"]
    names = ("sampler", "num_points", "time_shift")
    return (f"--model.guidance_scale={scale}", *(f"--model.{name}={settings[name]}" for name in names))


def _train(job: Job, stage: Stage, runs: Path) -> None:
    """Train, from the last checkpoint where an earlier try left one."""
    done = job.position < len(job.finished) and job.finished[job.position]["words"] == list(stage.words)
    checkpoint = newest_checkpoint(runs)
    if done or checkpoint is None:
        job.run(stage)
        return
    print(f"train: going on from {checkpoint}", flush=True)
    job.run(Stage(stage.name, (*stage.words, f"--ckpt_path={checkpoint}")))
    # On record stands the command without the checkpoint, which is what a repeated job asks for.
    job.finished[-1]["words"] = list(stage.words)
    write_json(job.record_path, {"finished": job.finished})


def _loggers(out: Path) -> dict:
    """Overlay that puts a run's logs and checkpoints into the job's folder."""
    csv_logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(out), "name": "training"}}
    wandb_arguments = {"project": "trilight-microdoppler", "save_dir": str(out)}
    wandb_logger = {"class_path": "WandbLogger", "init_args": wandb_arguments}
    return {"trainer": {"default_root_dir": str(out), "logger": [csv_logger, wandb_logger]}}


def _last_values(runs: Path) -> dict[str, float]:
    """The last value of each logged number of the newest run."""
    values: dict[str, float] = {}
    for path in sorted(runs.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                values.update({name: float(value) for name, value in row.items() if value})
    return values


def _report(job: Job) -> None:
    out, table = job.output_dir, Table(title="micro-Doppler generator", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    losses = _last_values(out / "training")
    for label, name in (("training loss", "train/loss_epoch"), ("validation loss", "val/loss")):
        if name in losses:
            table.add_row(label, f"{losses[name]:.4f}")
    evaluation = out / "evaluation" / "evaluation.json"
    if evaluation.is_file():
        results = json.loads(evaluation.read_text(encoding="utf-8"))
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
    print(f"grid of samples: {out / 'samples' / 'micro_doppler_grid.png'}")
    print(f"run folder:      {out}")
