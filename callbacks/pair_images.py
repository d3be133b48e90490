"""Pictures of depth and cameras while VGGT trains, and the verdict of the over-fit test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from batches.pair import PairBatch
from callbacks.image_logging import is_due, log_image
from exporters.point_cloud import point_cloud
from exporters.visualization.contact_sheet import picture_sheet
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


def scene_pictures(module: PairDepthCameraModule, batch: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the first scene of a :class:`PairBatch`: a sheet with a row per view, and predicted and true cameras."""
    one: Any = {key: value[:1] for key, value in batch.items()}
    targets, prediction = normalised_targets(one), module.predict_scene(one["images"])
    rows = {}
    for view in range(one["images"].shape[1]):
        mask, true = targets["point_masks"][0, view].cpu(), targets["depths"][0, view].cpu()
        depth = prediction["depth"][0, view].float().cpu()
        near, far = depth_range(true, mask)
        rows[f"view {view + 1}"] = [
            _picture(one["images"][0, view]),
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
    return picture_sheet(rows, CAPTIONS), cameras


def _picture(image: Tensor) -> NDArray[np.uint8]:
    return (image.cpu().permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def cloud_pictures(module: PairDepthCameraModule, batch: Any) -> NDArray[np.uint8]:
    """Draw the predicted point cloud of the first scene of a :class:`PairBatch` beside the true one."""
    one: Any = {key: value[:1] for key, value in batch.items()}
    targets, prediction = normalised_targets(one), module.predict_scene(one["images"])
    images = one["images"][0].cpu()
    true_depth = (targets["depths"] * targets["point_masks"])[0].cpu()
    true_cloud = point_cloud(images, true_depth, None, targets["extrinsics"][0].cpu(), targets["intrinsics"][0].cpu())
    depth = prediction["depth"][0].float().cpu() * targets["point_masks"][0].cpu()  # the sky has no true depth
    cameras = (prediction["extrinsics"][0].float().cpu(), prediction["intrinsics"][0].float().cpu())
    predicted_cloud = point_cloud(images, depth, None, *cameras)
    pose = viewpoint(true_cloud[0])
    clouds = [draw_point_cloud(*cloud, pose) for cloud in (predicted_cloud, true_cloud)]
    return picture_sheet({"": clouds}, ("predicted point cloud", "true point cloud"), height=480)


class PairImages(Callback):
    """Log the first validation scene: input, predicted and true depth, error, confidence, and cameras as frusta.

    Args:
        every_n_epochs: Draw at the validation of every so many epochs.
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
        sheet, cameras = scene_pictures(pl_module, batch)
        log_image(trainer, "depth", sheet)
        log_image(trainer, "cameras", cameras)


class OverfitReport(Callback):
    """Judge a single-pair over-fit test at the end of training, print the verdict, and write a Markdown report.

    Passed is: no value that is not finite, and at the last validation an objective below 0.01, a camera loss below
    0.001, a depth error (the mean absolute error of depth in the scene's unit, ``loss_reg_depth``) below 0.01, an
    absolute relative error below 0.02 and a rotation error below 0.5°.

    Args:
        folder: For ``report.md`` and its pictures; null takes ``report`` in the run's folder.
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
        """What an interrupted test needs to go on."""
        return {"history": self.history, "nonfinite": self.nonfinite}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up an interrupted test."""
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
        """Keep the pair for the pictures of the report."""
        if batch_idx == 0:
            self.batch = batch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch's last training losses, and those of validation where there was one."""
        row = {"epoch": float(trainer.current_epoch + 1)}
        checked = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") or (name.startswith("val/") and checked):
                row[name] = float(value)
        self.nonfinite += row.get("train/nonfinite", 0.0) + sum(not math.isfinite(value) for value in row.values())
        self.history.append(row)

    def criteria(self) -> list[Criterion]:
        """Every criterion beside its value at the last validation."""
        last = next((row for row in reversed(self.history) if "val/loss_objective" in row), {})
        judged = [
            Criterion(name, last.get(key, math.nan), limit, last.get(key, math.nan) < limit, unit)
            for name, key, limit, unit in self.LIMITS
        ]
        return [*judged, Criterion("values that are not finite", self.nonfinite, 0, self.nonfinite == 0)]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report and print the verdict."""
        if not trainer.is_global_zero or not self.history or self.batch is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, PairDepthCameraModule)
        pl_module.eval()
        batch: Any = pl_module.transfer_batch_to_device(self.batch, pl_module.device, 0)
        sheet, cameras = scene_pictures(pl_module, batch)
        folder = Path(self.folder) if self.folder else Path(trainer.log_dir or trainer.default_root_dir) / "report"
        criteria = self.criteria()
        pictures = {"depth": sheet, "point cloud": cloud_pictures(pl_module, batch), "cameras": cameras}
        path = write_report(folder, self.history, pictures, criteria, LEGEND)
        print(f"{verdict_line(criteria)}\nreport: {path}")
