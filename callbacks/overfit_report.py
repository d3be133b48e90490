"""Report of the over-fit test of a single pair, with its pass limits."""

from __future__ import annotations

import math
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from batches.pair import PairBatch
from callbacks.overfit_checks import Setup, conclusion, criteria, observations, what_to_try
from callbacks.pair_images import point_cloud_image, predict_first_scene, scene_images
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from exporters.visualization.depth import LEGEND
from exporters.visualization.overfit_report import Findings, verdict_line, write_report
from exporters.visualization.report.page import Section
from formats.errors import InputError
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.training_steps import GRADIENT_NORMS

KEPT = ("train/", GRADIENT_NORMS)  # of every epoch


class OverfitReport(Callback):
    """Judge an over-fit test on a single pair at the end of training: print the verdict, and write a report.

    ``report.md``, with its images, and ``report.html``, one file, hold the record of the experiment, the losses, every
    criterion with its value and limit, observations, what to try where a criterion failed, and images.

    The test passes if all values are finite and, at the last validation, the objective is below 0.01, the camera
    loss below 0.001, the depth loss (``loss_reg_depth``, the mean absolute error in the scene's unit) below 0.01, the
    absolute relative error below 0.02 and the rotation error below 0.5°; and if the training objective, smoothed over a
    tenth of the epochs, falls and rises in at most 35 % of them, validation and training differ by at most 0.05, and
    the largest gradient norm of every trained part is within 1e-6 and 1000.

    A run that an error stops, such as a loss that is not finite, is reported too, without images.

    Args:
        folder: Folder of ``report.md`` and its images; null uses ``report`` in the run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self.nonfinite = 0.0
        self.batch: PairBatch | None = None
        self.verdict: tuple[str, Path] | None = None  # and the report

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted test needs to continue."""
        return {"history": self.history, "nonfinite": self.nonfinite}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue an interrupted test."""
        self.history, self.nonfinite = list(state_dict["history"]), state_dict["nonfinite"]

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the pair for the images of the report."""
        if batch_idx == 0:
            self.batch = batch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch's last training losses and gradient norms, and the losses of its validation, if any."""
        row = {"epoch": float(trainer.current_epoch + 1)}
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        for name, value in trainer.callback_metrics.items():
            if name.startswith(KEPT) or (name.startswith("val/") and validated):
                row[name] = float(value)
        self.nonfinite += row.get("train/nonfinite", 0.0) + sum(not math.isfinite(value) for value in row.values())
        self.history.append(row)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report and print the verdict."""
        self._report(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Report on a run that an error stopped."""
        if isinstance(exception, InputError):
            self.nonfinite += "finite" in exception.fault
            self._report(trainer, pl_module, str(exception))

    def _report(self, trainer: Trainer, module: LightningModule, stopped: str = "") -> None:
        fast_dev_run: bool | int = getattr(trainer, "fast_dev_run", False)  # Lightning sets it without declaring it
        folder = Path(self.folder) if self.folder else Path(trainer.log_dir or trainer.default_root_dir) / "report"
        if not trainer.is_global_zero or not self.history or self.batch is None or fast_dev_run:
            return
        assert isinstance(module, PairDepthCameraModule)
        images = {}
        if not stopped:
            module.eval()
            batch: PairBatch = module.transfer_batch_to_device(self.batch, module.device, 0)
            scene = predict_first_scene(module, batch)
            sheet, cameras = scene_images(scene)
            images = {"depth": sheet, "point cloud": point_cloud_image(scene), "cameras": cameras}
        setup = run_setup(trainer, module, self.batch, len(self.history))
        judged = criteria(self.history, self.nonfinite, setup)
        advice = what_to_try(self.history, judged, setup)
        findings = Findings(
            record(trainer, module, self.batch, len(self.history)),
            judged,
            observations(self.history, judged, setup, stopped),
            advice,
            conclusion(judged, advice),
            [(name, norm, step) for name, (norm, step) in module.most_gradients()],
        )
        path = write_report(folder, self.history, images, findings, LEGEND)
        self.verdict = verdict_line(judged), path.with_suffix(".html")
        print("\n".join([verdict_line(judged), *(f"  {line}" for line in advice)]))
        print(f"report: {path} and {path.with_suffix('.html').name}")

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Link the report of the test in the report of the run."""
        if self.verdict is None:
            return []
        verdict, path = self.verdict
        run = Path(trainer.log_dir or trainer.default_root_dir)
        link = path.relative_to(run).as_posix() if path.is_relative_to(run) else path.resolve().as_uri()
        body = f'<p><strong>{escape(verdict)}</strong></p><p><a href="{escape(link)}">Full report of the test</a></p>'
        return [Section("Over-fit test", body, first=True)]


def _valid_pixels(batch: PairBatch) -> list[tuple[int, int]]:
    """Return the number of valid pixels and of all pixels of each image of the first scene."""
    return [(int(mask.sum()), mask.numel()) for mask in batch["point_masks"][0]]


def run_setup(trainer: Trainer, module: PairDepthCameraModule, batch: PairBatch, epochs: int) -> Setup:
    """Return the settings of a run that may explain its failure."""
    h: Any = module.hparams
    parameters = list(module.network.named_parameters())
    trained = [(name, part) for name, part in parameters if part.requires_grad]
    augmentation = {}
    if isinstance(data := getattr(trainer, "datamodule", None), AerialMegaDepthDataModule):
        augmentation = vars(data.augmentation)
    return Setup(
        learning_rate=h.learning_rate,
        epochs=max(trainer.max_epochs or 0, epochs),
        frozen=tuple(h.frozen or ()),
        frozen_share=1 - sum(part.numel() for _, part in trained) / sum(part.numel() for _, part in parameters),
        trained_parts=tuple(dict.fromkeys(name.partition(".")[0] for name, _ in trained)),
        valid_shares=tuple(valid / count for valid, count in _valid_pixels(batch)),
        camera_weight=h.camera_weight,
        depth_weight=h.depth_weight,
        is_pretrained=h.published_checkpoint is not None,
        augmented=tuple(f"{name}_augmentation" for name, value in augmentation.items() if value and name != "seed"),
    )


def record(trainer: Trainer, module: PairDepthCameraModule, batch: PairBatch, epochs: int) -> list[tuple[str, str]]:
    """Return the record of the experiment, label and value."""
    h: Any = module.hparams
    config = Path(trainer.log_dir or trainer.default_root_dir) / "config.yaml"
    shares = [f"{valid}/{count} pixels ({100 * valid / count:.1f} %)" for valid, count in _valid_pixels(batch)]
    rows = [
        ("date", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        ("configuration", f"`{config}`" if config.is_file() else "not saved"),
    ]
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, AerialMegaDepthDataModule) and "train" in data.datasets:
        dataset = data.datasets["val"]
        names = [dataset.split.image(int(image)) for image in dataset.image_ids[0]]
        rows += [
            ("number of pairs", str(len(data.datasets["train"]))),
            ("scene", ", ".join(dict.fromkeys(scene for scene, _ in names))),
            *((f"image {view}", name) for view, (_, name) in enumerate(names, start=1)),
        ]
    parameters = list(module.network.parameters())
    count, trained = (sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad]))
    return [
        *rows,
        ("sample", batch["seq_name"][0]),
        *((f"valid depth of image {view}", share) for view, share in enumerate(shares, start=1)),
        ("image size", "{} × {} pixels".format(*batch["images"].shape[-2:])),
        ("learning rate", f"{h.learning_rate:g}"),
        ("weight decay", f"{h.weight_decay:g}"),
        ("epochs", f"{epochs} of {trainer.max_epochs}"),
        ("batch size", str(getattr(data, "batch_size", len(batch["images"])))),
        ("frozen modules", ", ".join(f"`{pattern}`" for pattern in h.frozen or ()) or "none"),
        ("parameters", f"{count / 1e6:.1f} M, of which {trained / 1e6:.1f} M are trained"),
        ("start", h.published_checkpoint or "random weights"),
        ("device and precision", f"{trainer.strategy.root_device.type}, {trainer.precision}"),
    ]
