"""Images of depth and cameras during training of VGGT."""

from __future__ import annotations

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
    colour_confidence,
    colour_depth,
    colour_error,
    depth_range,
    draw_frusta,
)
from exporters.visualization.point_cloud import draw_point_cloud, viewpoint
from formats.ranges import AT_LEAST_1, check_ranges
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from losses.pair_objective import normalised_targets

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
        check_ranges("PairImages", {"every_n_epochs": every_n_epochs}, {"every_n_epochs": AT_LEAST_1})
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
