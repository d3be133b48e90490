"""Decomposition of held-out clip-art, compared with the true elements of the SVG files.

python -m benchmarks.decompositions --svg_dir /usr/share/openclipart/svg --data_dir data/region_order/clipart \
    --output_dir runs/decompositions --out benchmarks/results/decompositions.json

The drawings are the first of the test split, by a hash of their names, that have 3 to 12 visible elements.
``--data_dir`` is the folder that ``prepare layers`` made from ``--svg_dir``. Each image is decomposed with
configs/layers_decompose.yaml as any PNG file; the SVG files are only used to measure:

- number of layers: that of the decomposition minus the visible elements, both with the canvas;
- small layers: those whose visible part is less than 0.1 % of the image;
- hidden colour error: mean absolute difference in levels of 255 between a layer and its element where both are opaque
  and hidden by others. A layer's element is the one with which it shares most visible pixels; the canvas is left out,
  since it is white in every file.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import FOLDER
from datamodules.layered_art_dataset import ArtFile, sample_number, split_of
from formats.atomic import write_json
from formats.images import read_rgba
from formats.layered_art.layouts import open_layered_art
from formats.svg.paint_order import draw_svg_layers
from prepare.layers import category_and_name, find_svgs
from prepare.pipeline import CLI

ELEMENTS = (3, 12)
CLOSE = 2  # layers by which the number may differ
SMALL = 0.001  # share of the image
MIN_HIDDEN = 40  # pixels of a drawing by which the colours are measured
OPAQUE = 250


def chosen_samples(data_dir: Path, count: int) -> list[ArtFile]:
    """Choose drawings by the rule above."""
    art = open_layered_art(data_dir, "auto")
    files = [ArtFile(art, sample) for sample in art.samples if "test" in split_of(sample, 0.1, 0.1, 0)]
    files.sort(key=lambda file: sample_number("limit", 0, file.sample))
    suitable = (file for file in files if ELEMENTS[0] <= _elements(file) <= ELEMENTS[1])
    return list(itertools.islice(suitable, count))


def _elements(file: ArtFile) -> int:
    orders = file.art.read(file.sample).orders
    return len(np.unique(orders[orders > 0]))


def measure(folder: Path, svg: Path, orders: NDArray[np.uint16], size: int) -> dict[str, Any]:
    """Measure the decomposition in a folder against the elements of its SVG file."""
    layers = np.stack([read_rgba(path) for path in sorted((folder / "layers").glob("[0-9][0-9]_*.png"))])
    shown = np.where(layers[..., 3] >= 128, np.arange(len(layers))[:, None, None], -1).max(0)
    shares = np.bincount(shown[shown >= 0], minlength=len(layers)) / shown.size
    true_count = len(np.unique(orders))
    result: dict[str, Any] = {
        "true_layers": true_count,
        "layers": len(layers),
        "small_layers": int((shares < SMALL).sum()),
        "smallest_share": round(float(shares.min()), 5),
    }
    elements, drawn_orders = draw_svg_layers(svg, size)
    errors, covered, hidden_pixels = [], 0, 0
    for number, element in enumerate(elements, 1):
        visible = drawn_orders == number
        hidden = (element[..., 3] >= OPAQUE) & (drawn_orders > number)
        if not hidden.any() or not visible.any():
            continue
        match = int(np.bincount(shown[visible & (shown >= 0)], minlength=1).argmax())
        both = hidden & (layers[match, ..., 3] >= OPAQUE) & (shown > match)
        errors.append(np.abs(layers[match, both, :3].astype(int) - element[both, :3]).mean(1))
        covered, hidden_pixels = covered + int(both.sum()), hidden_pixels + int(hidden.sum())
    if covered >= MIN_HIDDEN:
        result["hidden_colour_error"] = round(float(np.concatenate(errors).mean()), 2)
        result["hidden_share_covered"] = round(covered / hidden_pixels, 3)
    return result


def summary(drawings: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the measures over all drawings."""
    close = [abs(values["layers"] - values["true_layers"]) <= CLOSE for values in drawings.values()]
    errors = [values["hidden_colour_error"] for values in drawings.values() if "hidden_colour_error" in values]
    return {
        "drawings": len(drawings),
        "share_within_2_layers": round(float(np.mean(close)), 3),
        "drawings_with_small_layers": sum(values["small_layers"] > 0 for values in drawings.values()),
        "median_hidden_colour_error": median(errors) if errors else float("nan"),
        "drawings_with_hidden_parts": len(errors),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg_dir", type=Path, required=True, help="SVG files")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of prepare layers made from them")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for the decompositions")
    parser.add_argument("--count", type=int, default=20, help="number of drawings")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    files = chosen_samples(arguments.data_dir, arguments.count)
    svgs = {category_and_name(file): arguments.svg_dir / file for file in find_svgs(arguments.svg_dir)}
    images = "[" + ",".join(str(file.sample.path) for file in files) + "]"
    config = f"--config={FOLDER / 'layers_decompose.yaml'}"
    words = ["predict", config, f"--data.images={images}", f"--data.output_dir={arguments.output_dir}"]
    subprocess.run([sys.executable, str(CLI), *words], check=True)
    drawings = {}
    for art, sample in files:
        name = f"{sample.category}/{sample.name}"
        orders = art.read(sample).orders
        svg = svgs[sample.category, sample.name]
        drawings[name] = measure(arguments.output_dir / sample.name, svg, orders, max(orders.shape))
        print(name, drawings[name], flush=True)
    results = {"summary": summary(drawings), "drawings": drawings}
    print(results["summary"])
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    main()
