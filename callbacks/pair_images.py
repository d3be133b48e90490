"""Images of depth and cameras during training of VGGT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

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
from exporters.visualization.report.page import Section
from exporters.visualization.report.scene import Scene, scene_section
from formats.ranges import AT_LEAST_1, check_ranges
from lightning_modules.pair_depth_camera import PairDepthCameraModule, ScenePrediction
from losses.pair_objective import normalised_targets

KEYS: tuple[Literal["depth", "confidence", "extrinsics", "intrinsics"], ...] = (
    "depth",
    "confidence",
    "extrinsics",
    "intrinsics",
)
CAPTIONS = ("input", "predicted depth", "true depth", "error, 0 to 20 %", "confidence")


@dataclass(frozen=True)
class PredictedScene:
    """First scene of a batch with its prediction, on the CPU; V views of H × W pixels.

    Attributes:
        name: Name of the sample.
        images: (V, 3, H, W) in 0…1.
        predicted: Depth (V, H, W) with its confidence, and cameras, in the frame of the first camera.
        true: The same of the normalised truth.
        mask: (V, H, W) bool, where the true depth is valid.
    """

    name: str
    images: Tensor
    predicted: ScenePrediction
    true: Scene
    mask: Tensor

    def section(self, when: str) -> Section:
        """Return the section of a report on the scene."""
        cloud = self.predicted
        # The sky has no true depth.
        predicted = Scene(cloud["depth"], cloud["extrinsics"], cloud["intrinsics"], mask=self.mask)
        names = [f"view {view + 1}" for view in range(len(self.images))]
        return scene_section(f"Depth and cameras of {self.name}{when}", names, self.images, predicted, self.true)


def predict_first_scene(module: PairDepthCameraModule, batch: PairBatch) -> PredictedScene:
    """Predict depth and cameras of the first scene of a batch."""
    one = cast(PairBatch, {key: values[:1] for key, values in cast(dict[str, Any], batch).items()})
    targets, prediction = normalised_targets(one), module.predict_scene(one["images"])
    mask = targets["point_masks"][0].cpu()
    depth, extrinsics, intrinsics = (targets[key][0].cpu() for key in ("depths", "extrinsics", "intrinsics"))
    true = Scene(depth, extrinsics, intrinsics, mask=mask)
    predicted = {key: prediction[key][0].float().cpu() for key in KEYS}
    return PredictedScene(one["seq_name"][0], one["images"][0].cpu(), cast(ScenePrediction, predicted), true, mask)


def scene_images(scene: PredictedScene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a contact sheet with a row per view, and predicted and true cameras."""
    rows = {}
    for view, image in enumerate(scene.images):
        mask, true, depth = scene.mask[view], scene.true.depth[view], scene.predicted["depth"][view]
        near, far = depth_range(true, mask)
        rows[f"view {view + 1}"] = [
            _to_uint8(image),
            colour_depth(depth, near=near, far=far),
            colour_depth(true, mask, near, far),
            colour_error(depth, true, mask),
            colour_confidence(scene.predicted["confidence"][view]),
        ]
    height, width = scene.images.shape[-2:]
    cameras = draw_frusta(
        scene.predicted["extrinsics"],
        scene.predicted["intrinsics"],
        scene.true.extrinsics,
        scene.true.intrinsics,
        (height, width),
    )
    return contact_sheet(rows, CAPTIONS), cameras


def _to_uint8(image: Tensor) -> NDArray[np.uint8]:
    return (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def point_cloud_image(scene: PredictedScene) -> NDArray[np.uint8]:
    """Draw the predicted point cloud next to the true one."""
    true, predicted = scene.true, scene.predicted
    true_cloud = point_cloud(scene.images, true.depth * scene.mask, None, true.extrinsics, true.intrinsics)
    depth = predicted["depth"] * scene.mask  # the sky has no true depth
    predicted_cloud = point_cloud(scene.images, depth, None, predicted["extrinsics"], predicted["intrinsics"])
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
        self.drawn: tuple[PredictedScene, str] | None = None  # the last scene, and when

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
        scene = predict_first_scene(pl_module, batch)
        self.drawn = scene, f" at step {trainer.global_step}"
        sheet, cameras = scene_images(scene)
        log_image(trainer, "depth", sheet)
        log_image(trainer, "cameras", cameras)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first scene of a test for the report of the run, unless parameters are on several devices."""
        if batch_idx == 0 and trainer.is_global_zero and pl_module.device_mesh is None:
            assert isinstance(pl_module, PairDepthCameraModule)
            self.drawn = predict_first_scene(pl_module, batch), ""

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Show the last scene next to its truth in the report of the run."""
        return [self.drawn[0].section(self.drawn[1])] if self.drawn is not None else []
