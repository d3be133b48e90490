"""Measures of depth and cameras on simulated scenes, next to baselines that do not look at the images.

Baselines, fitted to the training split:

- constant depth: every pixel the same, with the identity rotation and the mean translation;
- mean depth map: per view and pixel, the median over training images that are scaled to median 1, with the mean pose:
  the rotation nearest to the mean of the training rotations, and the mean translation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from batches.pair import PairBatch
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from losses.pair_objective import normalised_targets
from metrics.depth import DepthErrors
from metrics.pose import PoseErrors

FITTED_PAIRS = 400  # training pairs that the baselines are fitted to
REPORTED = (
    "abs_rel_scaled",
    "delta_1.25_scaled",
    "rotation_accuracy_15",
    "auc_30",
    "rotation_error",
    "translation_error",
    "focal_error",
)


def batches(data: Path, split: str, image_size: int) -> Iterable[PairBatch]:
    """Yield the normalised batches of a split, in order."""
    datamodule = AerialMegaDepthDataModule(
        str(data), str(data / "seg"), val_split=f"{split}.npz", batch_size=20, image_size=image_size, num_workers=0
    )
    datamodule.setup("test")
    for batch in datamodule.test_dataloader():
        yield normalised_targets(batch)


class Errors:
    """Depth and pose errors of one method over all batches."""

    def __init__(self) -> None:
        self.depth, self.pose = DepthErrors(), PoseErrors()

    def update(self, depth: Tensor, extrinsics: Tensor, intrinsics: Tensor, batch: PairBatch) -> None:
        """Add a batch of predictions (B, V, H, W), (B, V, 3, 4) and (B, V, 3, 3)."""
        self.depth.update(depth, batch["depths"], batch["point_masks"], batch["weights"])
        self.pose.update(extrinsics, intrinsics, batch["extrinsics"], batch["intrinsics"], batch["weights"])

    def result(self) -> dict[str, float]:
        """Return the reported measures, rounded."""
        values = {**self.depth.compute(), **self.pose.compute()}
        return {name: round(float(values[name]), 4) for name in REPORTED}


def fit_baselines(training: Iterable[PairBatch]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean depth map (V, H, W), the mean extrinsics (V, 3, 4) and intrinsics (V, 3, 3)."""
    maps, extrinsics, intrinsics = [], [], []
    for batch in training:
        depths = torch.where(batch["point_masks"], batch["depths"], torch.nan)
        maps.append(depths / depths.flatten(2).nanmedian(dim=2).values[..., None, None])
        extrinsics.append(batch["extrinsics"])
        intrinsics.append(batch["intrinsics"])
        if sum(len(part) for part in maps) >= FITTED_PAIRS:
            break
    mean_map = torch.cat(maps).nanmedian(dim=0).values.nan_to_num(nan=1.0)
    mean = torch.cat(extrinsics).mean(dim=0)
    u, _, v = torch.linalg.svd(mean[..., :3])
    sign = torch.diag_embed(torch.stack([torch.ones(len(u)), torch.ones(len(u)), torch.det(u @ v)], dim=-1))
    return mean_map, torch.cat([u @ sign @ v, mean[..., 3:]], dim=-1), torch.cat(intrinsics).mean(dim=0)


def measure(data: Path, module: PairDepthCameraModule, image_size: int, split: str) -> dict[str, Any]:
    """Measure the baselines and the network on a split.

    Args:
        data: Folder of `prepare.scenes_sample`.
        module: With the weights to measure.
        image_size: Longer side of the images in pixels.
        split: ``val`` or ``test``; the baselines are fitted to ``train``.

    Returns:
        Number of pairs, the measures in ``REPORTED`` of each method, and 21 quantiles of the mean confidence per pair,
        evenly spaced from the minimum to the maximum.
    """
    mean_map, mean_pose, mean_intrinsics = fit_baselines(batches(data, "train", image_size))
    identity = mean_pose.clone()
    identity[:, :, :3] = torch.eye(3)
    methods = {name: Errors() for name in ("constant depth, identity rotation", "mean depth map, mean pose", "network")}
    confidences, pairs = [], 0
    module.eval()
    for batch in batches(data, split, image_size):
        count = len(batch["images"])
        pairs += count
        for name, depth, pose in zip(
            methods, (torch.ones_like(mean_map), mean_map), (identity, mean_pose), strict=False
        ):
            repeated = [values.expand(count, *values.shape) for values in (depth, pose, mean_intrinsics)]
            methods[name].update(repeated[0], repeated[1], repeated[2], batch)
        scene = module.predict_scene(batch["images"])
        methods["network"].update(scene["depth"], scene["extrinsics"], scene["intrinsics"], batch)
        confidences += scene["confidence"].flatten(1).mean(1).tolist()
    quantiles = torch.tensor(confidences, dtype=torch.float64).quantile(torch.linspace(0, 1, 21, dtype=torch.float64))
    return {
        "split": split,
        "pairs": pairs,
        **{name: errors.result() for name, errors in methods.items()},
        "mean_confidence_quantiles": [round(value, 4) for value in quantiles.tolist()],
    }
