"""Callback that decomposes images into layers and writes them as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from batches.layers import IllustrationBatch
from batches.trainer import datamodule_of
from callbacks.prediction_writer import PredictionWriter
from datamodules.illustration_folder import IllustrationFolderDataModule
from decomposition.colour_regions import equal_neighbours
from decomposition.separation import MAX_LAYERS, Separation, exact_separation, separate_layers
from exporters.layered_svg import write_layered_svg
from exporters.open_raster import write_open_raster
from exporters.photoshop import write_psd
from exporters.relief import HEIGHT_MM, layer_heights, write_relief
from exporters.visualization.layer_index import colour_index, index_to_16bit
from exporters.visualization.layer_stack import before_after_figure
from exporters.visualization.report.layers import LayeredImage, layers_section
from exporters.visualization.report.page import Section
from formats.atomic import write_json
from formats.errors import InputError
from formats.images import write_png
from formats.ranges import ABOVE_0, AT_LEAST_1, check_ranges
from lightning_modules.training_record import weights_report

FEW_EQUAL_NEIGHBOURS = 0.2  # photographs have below 0.1, drawings above 0.4

REPORTED = 4  # images in the report
REPORTED_BYTES = 4_200_000  # for all of them


class LayerWriter(PredictionWriter):
    """Write a folder per image in the datamodule's ``output_dir``.

    ``index.png`` (16 bits, 0 … 65535 for 0 … 1) and ``index_colour.png``; ``layers/00_background.png``, … (RGBA, bottom
    to top, hidden parts filled in); ``layers.ora``, ``layers.psd`` and ``layers.svg``; ``relief.stl`` (millimetres) and
    ``relief.glb``; ``overview.png``; ``weights.json``, what the weights were trained on, and whether the image is
    unlike drawings. Each process writes its share of the images; the files do not depend on the number of processes.

    Args:
        max_layers: Largest number of layers where the index map determines it.
        relief_width_mm: Width of the relief.
        relief_height_mm: Height of the foremost layer above the background.
        num_threads: CPU threads of each process, see :class:`PredictionWriter`.
    """

    def __init__(
        self,
        max_layers: int = MAX_LAYERS,
        relief_width_mm: float = 100.0,
        relief_height_mm: float = HEIGHT_MM,
        num_threads: int = 1,
    ) -> None:
        super().__init__(num_threads)
        check_ranges(
            "LayerWriter",
            {"max_layers": max_layers, "relief_width_mm": relief_width_mm, "relief_height_mm": relief_height_mm},
            {"max_layers": AT_LEAST_1, "relief_width_mm": ABOVE_0, "relief_height_mm": ABOVE_0},
        )
        self.max_layers = max_layers
        self.relief_width_mm, self.relief_height_mm = relief_width_mm, relief_height_mm
        self.written: list[LayeredImage] = []  # the first images, for the report

    def write_on_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Tensor,
        batch_indices: Any,
        batch: IllustrationBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        data = datamodule_of(trainer, IllustrationFolderDataModule)
        folder = Path(data.output_dir) / batch["name"]
        image, index = batch["image"].cpu().numpy(), prediction.cpu().numpy()
        exact = None
        if "layers" in batch and "orders" in batch and data.num_layers is None:
            exact = exact_separation(batch["layers"].cpu().numpy(), batch["orders"].cpu().numpy())
        separation = self.write(folder, image, index, data.num_layers, exact)
        if len(self.written) < REPORTED:
            names = [layer.name for layer in separation.layers]
            self.written.append(LayeredImage(folder, names, separation.note))
        count = len(separation.layers)
        note = f" ({separation.note})" if separation.note else ""
        print(f"{batch['name']}: {count} layer{'s' if count > 1 else ''} in {folder}{note}")
        report = layers_report(pl_module, batch)
        write_json(folder / "weights.json", report)
        if "note" in report and (batch_idx == 0 or report["is_unlike_drawings"]):
            print(f"{batch['name']}: {report['note']}")

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Show the first images of this process in the report of the run."""
        return [layers_section(image, REPORTED_BYTES // len(self.written)) for image in self.written]

    def write(
        self,
        folder: Path,
        image: NDArray[np.uint8],
        index: NDArray[np.float32],
        num_layers: int | None = None,
        exact: Separation | None = None,
    ) -> Separation:
        """Write all files of one image; layers of an earlier run are replaced.

        Args:
            folder: Output folder of the image.
            image: (H, W, 4), RGBA, not premultiplied.
            index: (H, W), its layer index in 0…1.
            num_layers: Number of layers; None chooses it from the index.
            exact: The layers where they are known; None estimates them from the index.

        Returns:
            The layers, with a note on them.

        Raises:
            InputError: The folder cannot be created.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "Choose another --data.output_dir."
            raise InputError(folder, f"the folder cannot be created: {error.strerror}", remedy) from None

        separation = exact or separate_layers(image, index, num_layers, max_layers=self.max_layers)
        layers = separation.layers
        write_png(folder / "index.png", index_to_16bit(index))
        write_png(folder / "index_colour.png", colour_index(index))
        names = [f"{number:02d}_{layer.name.replace(' ', '_')}.png" for number, layer in enumerate(layers)]
        for name, layer in zip(names, layers, strict=True):
            write_png(folder / "layers" / name, layer.pixels)
        for path in (folder / "layers").glob("[0-9][0-9]_*.png"):
            if path.name not in names:
                path.unlink()
        write_open_raster(folder / "layers.ora", layers)
        write_psd(folder / "layers.psd", layers)
        write_layered_svg(folder / "layers.svg", layers)
        heights = layer_heights(separation.labels, [layer.index for layer in layers])
        write_relief(
            folder / "relief.stl",
            folder / "relief.glb",
            heights,
            image,
            width_mm=self.relief_width_mm,
            relief_mm=self.relief_height_mm,
        )
        write_png(folder / "overview.png", before_after_figure(image, index, layers))
        return separation


def layers_report(module: LightningModule, batch: IllustrationBatch) -> dict[str, Any]:
    """Describe what the layers of an image come from, and whether they can be relied on.

    Args:
        module: Module that estimated the layer index.
        batch: The image.

    Returns:
        As :func:`lightning_modules.training_record.weights_report`, with ``equal_neighbours``, the share of adjacent
        pixels of the same colour, and ``is_unlike_drawings``; for SVG files, that their layers are exact.
    """
    if "orders" in batch:
        return {"weights": "none: the layers are those of the file"}
    share = equal_neighbours(batch["rgb"].permute(1, 2, 0).cpu().numpy())
    is_unlike = share < FEW_EQUAL_NEIGHBOURS
    report: dict[str, Any] = {**weights_report(module), "equal_neighbours": round(share, 3)}
    if is_unlike:
        reason = f"only {share:.0%} of adjacent pixels have the same colour, as in a photograph rather than a drawing"
        report["note"] = f"{reason}: do not rely on the layers. {report.get('limits', '')}".strip()
    return {**report, "is_unlike_drawings": is_unlike}
