"""Callback that writes predicted depth and cameras as files that other programs open."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from batches.pair import PairBatch
from batches.trainer import datamodule_of
from callbacks.pair_images import KEYS
from exporters.cameras_json import write_cameras_json
from exporters.colmap import write_colmap_text
from exporters.point_cloud import point_cloud, write_glb, write_ply
from exporters.visualization.depth import colour_depth, depth_range
from exporters.visualization.report.page import Section
from exporters.visualization.report.scene import Scene, scene_section
from formats.atomic import write_json
from formats.exr import write_depth
from formats.images import write_png
from formats.ranges import AT_LEAST_1, DECAY, check_ranges
from lightning_modules.pair_depth_camera import ScenePrediction
from lightning_modules.training_record import weights_report
from losses.pair_objective import normalised_targets
from networks.shipped_weights import ShippedWeights


@runtime_checkable
class PairOutput(Protocol):
    """Datamodule that names a folder for predictions."""

    output_dir: str


REPORTED = 4  # scenes in the report of the run


class PairWriter(BasePredictionWriter):
    """Write a folder per scene into the datamodule's ``output_dir``.

    A folder holds ``<view>_depth.exr`` and ``<view>_depth.png``, ``cameras.json``, ``points.ply`` and ``points.glb``
    (coloured), a COLMAP text model in ``colmap/``, and ``confidence.json``: the mean confidence, what the weights were
    trained on, and, for weights of the repository, how many of their test scenes have a lower confidence. Each process
    writes its own scenes.

    Args:
        confidence_quantile: Share of the pixels, the least confident ones, left out of the point cloud.
        max_points: Maximum number of points in a cloud.
    """

    def __init__(self, confidence_quantile: float = 0.2, max_points: int = 1_000_000) -> None:
        super().__init__(write_interval="batch")
        check_ranges(
            "PairWriter",
            {"confidence_quantile": confidence_quantile, "max_points": max_points},
            {"confidence_quantile": DECAY, "max_points": AT_LEAST_1},
        )
        self.confidence_quantile, self.max_points = confidence_quantile, max_points
        self.sections: list[Section] = []  # on the first scenes

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: ScenePrediction,
        batch_indices: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the scenes of a batch."""
        output_dir = Path(datamodule_of(trainer, PairOutput).output_dir)
        for row, name in enumerate(batch["seq_name"]):
            if "weights" in batch and batch["weights"][row] == 0:
                continue
            views = batch["images"].shape[1]
            names = batch["names"][row] if "names" in batch else [f"view{number + 1}" for number in range(views)]
            scene = {key: prediction[key][row].float().cpu() for key in KEYS}
            self._write_scene(output_dir / name, names, batch["images"][row].float().cpu(), scene)
            own = confidence_report(scene["confidence"], getattr(pl_module, "shipped", None))
            report = {**weights_report(pl_module), **own}
            write_json(output_dir / name / "confidence.json", report)
            if len(self.sections) < REPORTED:
                true = _true_scene(batch, row) if "depths" in batch else None
                shown, predicted = batch["images"][row].float().cpu(), Scene(**scene)
                title = f"Depth and cameras of {name}"
                self.sections.append(scene_section(title, names, shown, predicted, true, report.get("note", "")))
            if "note" in own or ("note" in report and batch_idx == 0 and row == 0):
                pl_module.print(f"{name}: {report['note']}")
        if batch_idx == 0:
            pl_module.print(f"writing depth, cameras and point clouds to {output_dir}")

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Show the first scenes of this process in the report of the run."""
        return self.sections

    def _write_scene(self, folder: Path, names: list[str], images: Any, scene: Any) -> None:
        near, far = depth_range(scene["depth"])
        for view, name in enumerate(names):
            write_depth(folder / f"{name}_depth.exr", scene["depth"][view].numpy())
            write_png(folder / f"{name}_depth.png", colour_depth(scene["depth"][view], near=near, far=far))
        height, width = images.shape[-2:]
        cameras = (scene["extrinsics"], scene["intrinsics"])
        write_cameras_json(folder / "cameras.json", names, *cameras, width, height)
        points, colours = point_cloud(
            images, scene["depth"], scene["confidence"], *cameras, self.confidence_quantile, self.max_points
        )
        write_ply(folder / "points.ply", points, colours)
        write_glb(folder / "points.glb", points, colours)
        write_colmap_text(folder / "colmap", names, *cameras, width, height, points, colours)


def _true_scene(batch: PairBatch, row: int) -> Scene:
    """Return the truth in the frame and scale of predictions."""
    one = cast(PairBatch, {key: values[row : row + 1] for key, values in cast(dict[str, Any], batch).items()})
    targets = normalised_targets(one)
    depth, extrinsics, intrinsics, mask = (
        targets[key][0].cpu() for key in ("depths", "extrinsics", "intrinsics", "point_masks")
    )
    return Scene(depth, extrinsics, intrinsics, mask=mask)


def confidence_report(confidence: Tensor, shipped: ShippedWeights | None) -> dict[str, Any]:
    """Compare the confidence of a scene with that of the scenes on which shipped weights were tested.

    Args:
        confidence: Confidence of all pixels of the scene, any shape.
        shipped: Weights of the repository whose card holds ``mean_confidence_quantiles`` of its test scenes, evenly
            spaced from the minimum to the maximum; None for others.

    Returns:
        ``mean_confidence``; with such weights also ``weights``, ``trained_on``, ``test_scenes_below`` (share 0…1) and a
        ``note`` of one line.
    """
    mean = float(confidence.double().mean())
    report: dict[str, Any] = {"mean_confidence": round(mean, 4)}
    if shipped is None or "mean_confidence_quantiles" not in shipped.card:
        return report
    quantiles = shipped.card["mean_confidence_quantiles"]
    below = float(np.interp(mean, quantiles, np.linspace(0, 1, len(quantiles))))
    note = (
        f"mean confidence {mean:.2f}; {below:.0%} of the simulated test scenes have a lower one "
        f"(their median is {quantiles[len(quantiles) // 2]:.2f}). The weights were trained on simulated scenes alone: "
        "do not rely on depth and cameras of photographs"
    )
    if below < 0.05:
        note += "; these images are unlike the training data"
    return {
        **report,
        "weights": shipped.name,
        "trained_on": shipped.card["data"],
        "test_scenes_below": round(below, 4),
        "note": note + ".",
    }
