"""Images of depth and cameras during training of VGGT, and the report of the over-fit test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from batches.pair import PairBatch
from callbacks.image_logging import is_due, log_image
from exporters.point_cloud import point_cloud
from exporters.visualization.contact_sheet import contact_sheet
from exporters.visualization.depth import (
    LEGEND,
    colour_confidence,
    colour_depth,
    colour_error,
    depth_range,
    draw_frusta,
)
from exporters.visualization.overfit_report import Criterion, verdict_line, write_report
from exporters.visualization.point_cloud import draw_point_cloud, viewpoint
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from losses.pair import normalised_targets

CAPTIONS = ("input", "predicted depth", "true depth", "error, 0 to 20 %", "confidence")


def scene_images(module: PairDepthCameraModule, batch: PairBatch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the first scene of a batch: a contact sheet with a row per view, and predicted and true cameras."""
    one = _first_scene(batch)
    targets, prediction = normalised_targets(one), module.predict_scene(one["images"])
    rows = {}
    for view in range(one["images"].shape[1]):
        mask, true = targets["point_masks"][0, view].cpu(), targets["depths"][0, view].cpu()
        depth = prediction["depth"][0, view].float().cpu()
        near, far = depth_range(true, mask)
        rows[f"view {view + 1}"] = [
            _to_uint8(one["images"][0, view]),
            colour_depth(depth, near=near, far=far),
            colour_depth(true, mask, near, far),
            colour_error(depth, true, mask),
            colour_confidence(prediction["confidence"][0, view].float().cpu()),
        ]
    height, width = one["images"].shape[-2:]
    cameras = draw_frusta(
        prediction["extrinsics"][0].cpu(),
        prediction["intrinsics"][0].cpu(),
        targets["extrinsics"][0].cpu(),
        targets["intrinsics"][0].cpu(),
        (height, width),
    )
    return contact_sheet(rows, CAPTIONS), cameras


def _first_scene(batch: PairBatch) -> PairBatch:
    return cast(PairBatch, {key: values[:1] for key, values in cast(dict[str, Any], batch).items()})


def _to_uint8(image: Tensor) -> NDArray[np.uint8]:
    return (image.cpu().permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def point_cloud_image(module: PairDepthCameraModule, batch: PairBatch) -> NDArray[np.uint8]:
    """Draw the predicted point cloud of the first scene of a batch next to the true one."""
    one = _first_scene(batch)
    targets, prediction = normalised_targets(one), module.predict_scene(one["images"])
    images = one["images"][0].cpu()
    true_depth = (targets["depths"] * targets["point_masks"])[0].cpu()
    true_cloud = point_cloud(images, true_depth, None, targets["extrinsics"][0].cpu(), targets["intrinsics"][0].cpu())
    depth = prediction["depth"][0].float().cpu() * targets["point_masks"][0].cpu()  # the sky has no true depth
    cameras = (prediction["extrinsics"][0].float().cpu(), prediction["intrinsics"][0].float().cpu())
    predicted_cloud = point_cloud(images, depth, None, *cameras)
    pose = viewpoint(true_cloud[0])
    clouds = [draw_point_cloud(*cloud, pose) for cloud in (predicted_cloud, true_cloud)]
    return contact_sheet({"": clouds}, ("predicted point cloud", "true point cloud"), height=480)


class PairImages(Callback):
    """Log the first validation scene: input, predicted and true depth, error, confidence, and cameras as frusta.

    Args:
        every_n_epochs: Draw in the validation of every n-th epoch.
    """

    def __init__(self, every_n_epochs: int = 5) -> None:
        self.every_n_epochs = every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw after the first batch, on the first process."""
        if not is_due(trainer, batch_idx, self.every_n_epochs):
            return
        assert isinstance(pl_module, PairDepthCameraModule)
        sheet, cameras = scene_images(pl_module, batch)
        log_image(trainer, "depth", sheet)
        log_image(trainer, "cameras", cameras)


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
