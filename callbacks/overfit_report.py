"""Report of the over-fit test of a single pair, with its pass limits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from batches.pair import PairBatch
from callbacks.pair_images import point_cloud_image, scene_images
from exporters.visualization.depth import LEGEND
from exporters.visualization.overfit_report import Criterion, verdict_line, write_report
from lightning_modules.pair_depth_camera import PairDepthCameraModule


class OverfitReport(Callback):
    """Evaluate an over-fit test on a single pair at the end of training: print the verdict and write a Markdown report.

    The test passes if all values are finite and, at the last validation, the objective is below 0.01, the camera
    loss below 0.001, the depth loss (``loss_reg_depth``, the mean absolute error in the scene's unit) below 0.01, the
    absolute relative error below 0.02 and the rotation error below 0.5°.

    Args:
        folder: Folder of ``report.md`` and its images; null uses ``report`` in the run's folder.
    """

    LIMITS = (
        ("objective", "val/loss_objective", 0.01, ""),
        ("camera loss", "val/loss_camera", 0.001, ""),
        ("depth loss", "val/loss_reg_depth", 0.01, ""),
        ("absolute relative error", "val/abs_rel", 0.02, ""),
        ("rotation error", "val/rotation_error", 0.5, "°"),
    )

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.history: list[dict[str, float]] = []
        self.nonfinite = 0.0
        self.batch: PairBatch | None = None

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
        """Record the epoch's last training losses, and those of its validation, if any."""
        row = {"epoch": float(trainer.current_epoch + 1)}
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") or (name.startswith("val/") and validated):
                row[name] = float(value)
        self.nonfinite += row.get("train/nonfinite", 0.0) + sum(not math.isfinite(value) for value in row.values())
        self.history.append(row)

    def criteria(self) -> list[Criterion]:
        """Return every criterion with its value at the last validation."""
        last = next((row for row in reversed(self.history) if "val/loss_objective" in row), {})
        limits = [
            Criterion(name, last.get(key, math.nan), limit, last.get(key, math.nan) < limit, unit)
            for name, key, limit, unit in self.LIMITS
        ]
        return [*limits, Criterion("non-finite values", self.nonfinite, 0, self.nonfinite == 0)]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report and print the verdict."""
        fast_dev_run: bool | int = getattr(trainer, "fast_dev_run", False)  # Lightning sets it without declaring it
        if not trainer.is_global_zero or not self.history or self.batch is None or fast_dev_run:
            return
        assert isinstance(pl_module, PairDepthCameraModule)
        pl_module.eval()
        batch: PairBatch = pl_module.transfer_batch_to_device(self.batch, pl_module.device, 0)
        sheet, cameras = scene_images(pl_module, batch)
        folder = Path(self.folder) if self.folder else Path(trainer.log_dir or trainer.default_root_dir) / "report"
        criteria = self.criteria()
        images = {"depth": sheet, "point cloud": point_cloud_image(pl_module, batch), "cameras": cameras}
        path = write_report(folder, self.history, images, criteria, LEGEND)
        print(f"{verdict_line(criteria)}\nreport: {path}")
