"""Datasets of layered art in four layouts: listing and reading samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from formats.errors import InputError
from formats.images import on_white, read_grey, read_rgb, read_rgba
from formats.layered_art.base import REMEDY, ArtSample, LayeredArt, LayeredImage, painted_orders
from formats.layered_art.pairs import layer_pair, read_layer_pair
from formats.layered_art.parquet import LayeredParquet
from formats.layered_art.stack import METADATA, WHOLE_IMAGE
from formats.local_files import path_within, read_json_object

Layout = Literal["auto", "pairs", "parsed_dataset", "parquet", "coco"]

FOREMOST = 255  # order of the foremost layer in an 8-bit depth map


class PreparedPairs(LayeredArt):
    """Images and paint orders; see :mod:`formats.layered_art.pairs`. The fastest layout to read."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise the folders ``images`` and ``orders``."""
        return (root / "images").is_dir() and (root / "orders").is_dir()

    def find(self) -> Iterator[ArtSample]:
        """List the PNG files in ``images/<category>``."""
        for folder in _folders(self.root / "images"):
            for path in folder.glob("*.png"):
                if not path.name.startswith("."):
                    yield ArtSample(folder.name, path.stem, path)

    def files(self, sample: ArtSample) -> list[Path]:
        """Return the paths of the image and its orders."""
        return list(layer_pair(self.root, sample.category, sample.name))

    def read(self, sample: ArtSample) -> LayeredImage:
        """Read the image and its orders; the largest order is the number of layers."""
        image, orders = read_layer_pair(layer_pair(self.root, sample.category, sample.name))
        return LayeredImage(image, orders, max(1, int(orders.max())))


class ParsedDataset(LayeredArt):
    """One folder per sample, ``<category>/<sample_id>/``, with metadata, the whole image and one image per layer.

    ``metadata.json`` lists ``layers`` from below, each with its ``layer_index``, its ``box`` on the canvas and its
    file: the name of ``image_path``, by default ``02_layer_00.png``, ``03_layer_01.png``, …
    """

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise the metadata or the whole image of a sample."""
        return any(any(root.glob(f"*/*/{name}")) for name in (METADATA, WHOLE_IMAGE))

    def find(self) -> Iterator[ArtSample]:
        """List the folders in the categories' folders."""
        for category in _folders(self.root):
            for folder in _folders(category):
                yield ArtSample(category.name, folder.name, folder)

    def files(self, sample: ArtSample) -> list[Path]:
        """Return the metadata and the whole image; the metadata lists the layers."""
        return [sample.path / METADATA, sample.path / WHOLE_IMAGE]

    def read(self, sample: ArtSample) -> LayeredImage:
        """Read the whole image, and compute paint orders from the alpha of the layers."""
        layers = _layers(sample.path / METADATA)
        image = on_white(read_rgba(sample.path / WHOLE_IMAGE))
        orders = painted_orders((image.shape[0], image.shape[1]), self._opened(sample.path, layers))
        return LayeredImage(image, orders, max(1, len(layers)))

    def _opened(self, folder: Path, layers: list[dict[str, Any]]) -> Iterator[tuple[str, NDArray[np.uint8], Any]]:
        for number, layer in enumerate(layers):
            name = Path(str(layer.get("image_path") or f"{number + 2:02d}_layer_{number:02d}.png")).name
            path = path_within(folder, name, folder / METADATA)
            yield str(path), read_rgba(path), layer["box"]


class CocoDepths(LayeredArt):
    """``annotations/{train,val}.json`` with a COCO list of images, ``images/<split>/`` and 8-bit ``depths/<split>/``.

    A depth map has its image's file name, or the same with the suffix .png. Its grey is the order, 255 the foremost.
    Samples keep their split, which is their category too, since the layout has no categories.
    """

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise the folders ``annotations`` and ``depths``."""
        return (root / "annotations").is_dir() and (root / "depths").is_dir()

    def find(self) -> Iterator[ArtSample]:
        """List the images of the annotations."""
        splits: tuple[Literal["train", "val"], ...] = ("train", "val")
        for split in splits:
            annotations = self.root / "annotations" / f"{split}.json"
            if not annotations.is_file():
                continue
            images = read_json_object(annotations, REMEDY).get("images")
            if not isinstance(images, list):
                raise InputError(annotations, "has no list 'images'", "Give COCO annotations.")
            for image in images:
                file = image.get("file_name") if isinstance(image, dict) else None
                if not isinstance(file, str) or not file:
                    raise InputError(annotations, "lists an image without a file_name", "Give COCO annotations.")
                path = path_within(self.root / "images" / split, file, annotations)
                name = Path(file).with_suffix("").as_posix()
                yield ArtSample(split, name, path, split=split)

    def files(self, sample: ArtSample) -> list[Path]:
        """Return the paths of the image and its depth map."""
        depths = self.root / "depths" / sample.category
        name = sample.path.relative_to(self.root / "images" / sample.category)
        depth, png = (path_within(depths, str(part), depths) for part in (name, name.with_suffix(".png")))
        return [sample.path, png if png.is_file() and not depth.is_file() else depth]

    def read(self, sample: ArtSample) -> LayeredImage:
        """Read the image and its depth map."""
        image_file, depth_file = self.files(sample)
        image, orders = read_rgb(image_file), read_grey(depth_file)
        if image.shape[:2] != orders.shape:
            fault = f"has {orders.shape[1]}×{orders.shape[0]} pixels, its image {image.shape[1]}×{image.shape[0]}"
            raise InputError(depth_file, fault, REMEDY)
        if orders.max() > FOREMOST:
            raise InputError(depth_file, f"has values up to {orders.max()}", "Give depths of 8 bits.")
        return LayeredImage(image, orders, FOREMOST)


LAYOUTS: dict[str, type[LayeredArt]] = {
    "pairs": PreparedPairs,
    "coco": CocoDepths,
    "parquet": LayeredParquet,
    "parsed_dataset": ParsedDataset,
}


def open_layered_art(root: str | Path, layout: Layout = "auto") -> LayeredArt:
    """Open a folder of layered art.

    Args:
        root: The folder.
        layout: Its layout; ``auto`` recognises it by the files in the folder.

    Raises:
        InputError: There is no such folder, or it has none of the layouts or no samples.
    """
    root = Path(root)
    if not root.is_dir():
        remedy = (
            f"Make it with `python cli.py prepare layers --svg_dir … --out {root}` from SVG files, or simulate it with "
            f"`prepare illustrations-sample --out {root}`; or name your own folder with --data.data_dir."
        )
        raise InputError(root, "no such folder", remedy)
    kinds = LAYOUTS.values() if layout == "auto" else [LAYOUTS[layout]]
    kind = next((kind for kind in kinds if layout != "auto" or kind.recognises(root)), None)
    art = kind(root) if kind else None
    if art is None or not art.samples:
        asked = "of a known layout" if layout == "auto" else f"of the layout '{layout}'"
        expected = (
            "Expected images/<category>/*.png with orders/, <category>/<sample>/metadata.json, *.parquet, or "
            "annotations/{train,val}.json with images/ and depths/."
        )
        raise InputError(root, f"has no layered art {asked}", expected)
    return art


def _folders(parent: Path) -> Iterable[Path]:
    """Return the folders in a folder except hidden ones; none if it does not exist."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _layers(path: Path) -> list[dict[str, Any]]:
    """Read the layers of a sample from below."""
    metadata = read_json_object(path, REMEDY)
    layers = metadata.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) and "box" in layer for layer in layers):
        raise InputError(path, "has no list 'layers' of objects with a box", REMEDY)
    indices = [layer.get("layer_index", position) for position, layer in enumerate(layers)]
    if not all(isinstance(index, int) for index in indices) or indices != sorted(set(indices)):
        raise InputError(path, f"numbers its layers {indices}, which is not ascending", REMEDY)
    if metadata.get("layer_count", len(layers)) != len(layers):
        fault = f"lists {len(layers)} layers, but its layer_count is {metadata['layer_count']}"
        raise InputError(path, fault, REMEDY)
    return layers
