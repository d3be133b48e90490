"""Write general simulated scenes in AerialMegaDepth's layout: rooms, towns, terrain and random solids."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formats.ade20k import SKY, WALL
from formats.aerial_megadepth import ImageFiles, image_files, write_split
from formats.errors import check_settings
from formats.progress import progress
from prepare.output_folder import claim_folder
from prepare.simulated_views import JPEG_QUALITY, write_view
from simulators.scenes.cameras import MIN_OVERLAP
from simulators.scenes.pairs import TEST, TRAIN, VALIDATION, scene_pair

VIEWS = ("first", "second")
SPLITS = {"train": TRAIN, "val": VALIDATION, "test": TEST}


def scenes_sample(
    out: Path,
    num_train: int = 4500,
    num_val: int = 100,
    num_test: int = 100,
    width: int = 112,
    height: int = 84,
    supersampling: int = 1,
    seed: int = 0,
    num_workers: int = 1,
) -> None:
    """Simulate rooms, towns, terrain and random solids, one pair of images with depth and cameras per scene.

    Writes ``<out>/train.npz``, ``val.npz`` and ``test.npz``; per image ``<out>/<scene>/<image>.jpg``, ``.exr``
    (depth in metres, 0 = sky) and ``.npz`` (camera), where <image> is ``first.jpeg`` or ``second.jpeg``;
    ``<out>/seg/<scene>/<image>.png`` (2 = sky, 0 = anything else); and ``<out>/simulation.json``. Run again with
    the same settings, it completes what is missing. A scene does not depend on how many scenes there are. The splits
    give every pair the least overlap that the cameras are drawn for as its score.

    Args:
        out: Folder of the dataset: new, empty, or begun with the same settings.
        num_train: Scenes for training.
        num_val: Scenes for validation.
        num_test: Scenes for testing.
        width: Width of the images, in pixels.
        height: Height of the images, in pixels.
        supersampling: Rays along either side of a pixel; 1 is fastest, 2 smooths edges.
        seed: Another seed gives other scenes.
        num_workers: Processes that render.

    Raises:
        InputError: A number is out of range, or ``out`` holds something else.
    """
    counts = {"train": num_train, "val": num_val, "test": num_test}
    requirements = {f"--num_{split}": ("1 or more", count >= 1) for split, count in counts.items()}
    requirements |= {
        f"--{name}": ("32 to 4096", 32 <= side <= 4096) for name, side in (("width", width), ("height", height))
    }
    requirements["--supersampling"] = ("1 to 8", 1 <= supersampling <= 8)
    requirements["--seed"] = ("0 or more", seed >= 0)
    requirements["--num_workers"] = ("1 or more", num_workers >= 1)
    check_settings(requirements)
    out = Path(out)
    settings = {
        "seed": seed,
        "scenes": counts,
        "width": width,
        "height": height,
        "supersampling": supersampling,
        "jpeg_quality": JPEG_QUALITY,
        "min_overlap": MIN_OVERLAP,
    }
    claim_folder(out, settings)
    scenes = {
        split: [Scene(out, split, number, width, height, supersampling, seed) for number in range(count)]
        for split, count in counts.items()
    }
    every = [scene for members in scenes.values() for scene in members]
    missing = [scene for scene in every if not scene.complete()]
    if num_workers == 1:
        for scene in progress(missing, "scenes"):
            scene.write()
    elif missing:
        with ProcessPoolExecutor(min(num_workers, os.cpu_count() or 1)) as pool:
            for _ in progress(pool.map(Scene.write, missing, chunksize=16), "scenes", len(missing)):
                pass
    for split, members in scenes.items():
        _write_split(out / f"{split}.npz", members)
    print(f"{out}: wrote {len(missing)} of {len(every)} scenes ({', '.join(f'{n} {s}' for s, n in counts.items())})")


@dataclass(frozen=True)
class Scene:
    """One scene and its files; arguments as for `scenes_sample`."""

    out: Path
    split: str
    number: int
    width: int
    height: int
    supersampling: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the scene's folder."""
        return f"{self.split}_{self.number:05d}"

    def files(self, view: str) -> ImageFiles:
        """Files of a view."""
        return image_files(self.out, self.out / "seg", self.name, f"{view}.jpeg")

    def complete(self) -> bool:
        """Whether all files are there."""
        return all(path.is_file() for view in VIEWS for path in self.files(view).all())

    def write(self) -> None:
        """Render and write all files."""
        split = SPLITS[self.split]
        pair = scene_pair(self.seed, split, self.number, self.width, self.height, self.supersampling)
        for index, view in enumerate(VIEWS):
            depth = pair.depths[index]
            labels = np.where(depth > 0, WALL, SKY).astype(np.uint8)
            cameras = (pair.intrinsics[index], pair.cam2world[index])
            write_view(self.files(view), pair.images[index], depth, labels, *cameras)


def _write_split(path: Path, scenes: list[Scene]) -> None:
    images = [f"{view}.jpeg" for _ in scenes for view in VIEWS]
    owners = [scene.name for scene in scenes for _ in VIEWS]
    pairs = np.arange(len(images), dtype=np.int64).reshape(-1, 2)
    write_split(path, [scene.name for scene in scenes], images, owners, pairs, np.full(len(scenes), MIN_OVERLAP))
