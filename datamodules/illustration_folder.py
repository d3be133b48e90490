"""Images to decompose into layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.layers import IllustrationBatch
from batches.trainer import process_of, trainer_of
from datamodules.loading import PrebatchedDataset, share_of
from decomposition.compositing import compose
from decomposition.layer import Layer
from formats.errors import InputError, check_settings
from formats.images import SUFFIXES, distinct_names, find_images, on_white, read_rgba
from formats.svg.paint_order import draw_svg_layers

SVG_SUFFIXES = frozenset({".svg", ".svgz"})


class IllustrationFolderDataModule(LightningDataModule):
    """Images of any size, possibly transparent, each as one :class:`batches.layers.IllustrationBatch`.

    Args:
        images: A file, several files, or a folder, of which all images are used.
        num_layers: Number of layers per image; None chooses it from the index map.
        num_workers: Number of processes that read files.
        svg_size: Longer side in pixels at which SVG files are rendered; their exact layers need no network.
        output_dir: Folder of the results; each image gets a folder in it.
    """

    def __init__(
        self,
        images: list[str] | str,
        num_layers: int | None = None,
        num_workers: int = 0,
        output_dir: str = "runs/layer_index/layers",
        svg_size: int = 1024,
    ) -> None:
        super().__init__()
        if num_layers is not None and num_layers < 1:
            raise InputError("--data.num_layers", f"must be at least 1, not {num_layers}", "Give 1 or more, or null.")
        requirements = {
            "--data.svg_size": ("from 16 to 4096", 16 <= svg_size <= 4096),
            "--data.num_workers": ("at least 0", num_workers >= 0),
        }
        check_settings(requirements)
        self.images, self.num_layers, self.svg_size = images, num_layers, svg_size
        self.num_workers, self.output_dir = num_workers, output_dir
        self.files: list[tuple[Path, str]] = []

    def check_files(self, stage: str) -> None:
        """Check that there are images, before the model is built.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        self.setup(stage)

    def setup(self, stage: str) -> None:
        """List the images.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        paths = find_images(self.images, "--data.images", SUFFIXES | SVG_SUFFIXES)
        file_names = distinct_names(paths)
        names = [Path(name).stem for name in file_names]
        names = file_names if len(set(names)) < len(names) else names  # a.png and a.jpg
        self.files = list(zip(paths, names, strict=True))

    def predict_dataloader(self) -> DataLoader[IllustrationBatch]:
        """Return this process's images, one per batch."""
        rank, processes = process_of(trainer_of(self))
        share = share_of(self.files, rank, processes, "--data.images")
        batches = PrebatchedDataset(share, partial(_read, svg_size=self.svg_size))
        return DataLoader(batches, batch_size=None, num_workers=self.num_workers)


def _read_svg(path: Path, name: str, size: int) -> IllustrationBatch:
    """Render an SVG with its exact layers.

    Raises:
        InputError: The file cannot be drawn.
    """
    layers, orders = draw_svg_layers(path, size)
    image = compose([Layer(str(place), pixels, 0.0) for place, pixels in enumerate(layers)])
    return {
        "image": torch.from_numpy(image),
        "rgb": torch.from_numpy(on_white(image)).permute(2, 0, 1),
        "name": name,
        "layers": torch.from_numpy(np.stack(layers)),
        "orders": torch.from_numpy(orders.astype(np.int32)),
    }


def _read(file: tuple[Path, str], svg_size: int) -> IllustrationBatch:
    path, name = file
    if path.suffix.lower() in SVG_SUFFIXES:
        return _read_svg(path, name, svg_size)
    image = read_rgba(path)
    rgb = torch.from_numpy(on_white(image)).permute(2, 0, 1)
    return {"image": torch.from_numpy(image.copy()), "rgb": rgb, "name": name}
