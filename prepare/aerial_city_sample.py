"""Simulated dataset in AerialMegaDepth's layout: small cities seen from the air and from the street."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formats.aerial_megadepth import ImageFiles, image_files, write_split
from formats.errors import InputError
from formats.progress import progress
from prepare.output_folder import claim_folder
from prepare.simulated_views import JPEG_QUALITY, write_view
from simulators.city.cameras import (
    MIN_AERIAL_OVERLAP,
    MIN_OVERLAP,
    Camera,
    CameraPair,
    City,
    draw_cameras,
    draw_city,
    render,
)

VIEWS = ("aerial", "ground")
MIN_SIDE, MAX_SIDE = 32, 4096


def aerial_city_sample(
    out: Path,
    num_scenes: int = 8,
    val_scenes: int = 2,
    pairs_per_scene: int = 2,
    width: int = 320,
    height: int = 240,
    seed: int = 0,
) -> None:
    """Simulate small cities and write pairs of an aerial and a ground image with depth, cameras and masks.

    Writes ``<out>/train.npz`` and ``val.npz``; per image ``<out>/<scene>/<image>.jpg``, ``.exr`` (depth in
    metres, 0 = sky) and ``.npz`` (camera), where <image> is a name that itself has an extension, such as
    ``0001_aerial.jpeg``; ``<out>/seg/<scene>/<image>.png`` (ADE20k labels, 2 = sky); and
    ``<out>/simulation.json``. A second run with the same settings completes missing files. A scene does not
    depend on the number of scenes, nor a pair on the number of pairs.

    Args:
        out: Folder of the dataset: new, empty, or started with the same settings.
        num_scenes: Number of cities.
        val_scenes: Number of cities held out in ``val.npz``; these are the last ones.
        pairs_per_scene: Pairs of one aerial and one ground image per city.
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        seed: Seed of cities and cameras.

    Raises:
        InputError: A number is out of range, or ``out`` contains something else.
    """
    limits = {
        "num_scenes": (num_scenes, 2, 9999),
        "val_scenes": (val_scenes, 1, max(1, num_scenes - 1)),  # at least one remains for training
        "pairs_per_scene": (pairs_per_scene, 1, 9999),
        "width": (width, MIN_SIDE, MAX_SIDE),
        "height": (height, MIN_SIDE, MAX_SIDE),
    }
    for name, (number, low, high) in limits.items():
        if not low <= number <= high:
            raise InputError(f"--{name}", f"{number} is out of range", f"Choose a number from {low} to {high}.")
    if seed < 0:
        raise InputError("--seed", f"must be at least 0, not {seed}", "Choose another seed.")
    names = [f"{number:04d}" for number in range(1, num_scenes + 1)]
    splits = {"train": names[:-val_scenes], "val": names[-val_scenes:]}
    out = Path(out)
    simulation = {
        "seed": seed,
        "pairs_per_scene": pairs_per_scene,
        "width": width,
        "height": height,
        "jpeg_quality": JPEG_QUALITY,
        "min_overlap": {"ground": MIN_OVERLAP, "aerial": MIN_AERIAL_OVERLAP},
        "scenes": splits,
    }
    claim_folder(out, simulation)

    scenes = [Scene(out, name, pairs_per_scene, width, height, seed) for name in names]
    images = sum(len(scene.images) for scene in scenes)
    missing = sum(len(scene.missing()) for scene in scenes)
    if missing or not all((out / f"{split}.npz").is_file() for split in splits):
        # Threads, since most of the array operations release Python's lock and another process would have to import
        # the whole program again.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            written = progress(pool.map(Scene.write, scenes), "cities", len(scenes))
            scores = dict(zip(names, written, strict=True))
        for split, members in splits.items():
            _write_split(out / f"{split}.npz", [scenes[names.index(name)] for name in members], scores)
    kept = f" ({images - missing} already existed)" if missing < images else ""
    print(f"{out}: wrote {missing} images of {num_scenes} cities, {len(splits['val'])} of them held out{kept}")


@dataclass(frozen=True)
class Scene:
    """One city and the files of its images; arguments as for `aerial_city_sample`."""

    out: Path
    name: str
    num_pairs: int
    width: int
    height: int
    seed: int

    @property
    def images(self) -> list[str]:
        """Names of the images: every pair's aerial one, then its ground one."""
        return [f"{number:04d}_{view}.jpeg" for number in range(1, self.num_pairs + 1) for view in VIEWS]

    def files(self, image: str) -> ImageFiles:
        """Return the paths of an image's files."""
        return image_files(self.out, self.out / "seg", self.name, image)

    def missing(self) -> list[str]:
        """Return the images that lack a file."""
        return [image for image in self.images if not all(path.is_file() for path in self.files(image).all())]

    def city(self) -> City:
        """Return the city of this scene."""
        return draw_city(np.random.default_rng([self.seed, 0, int(self.name)]))

    def cameras(self, city: City, pair: int) -> CameraPair:
        """Return the cameras of pair 0, 1 …."""
        return draw_cameras(city, np.random.default_rng([self.seed, 1, int(self.name), pair + 1]))

    def write(self) -> list[float]:
        """Write the missing images' files and return the overlap of every pair."""
        city, missing = self.city(), set(self.missing())
        pairs = [self.cameras(city, pair) for pair in range(self.num_pairs)]
        cameras = [camera for pair in pairs for camera in (pair.aerial, pair.ground)]
        for image, camera in zip(self.images, cameras, strict=True):
            if image in missing:
                self._write_image(city, camera, self.files(image))
        return [pair.overlap for pair in pairs]

    def _write_image(self, city: City, camera: Camera, files: ImageFiles) -> None:
        rendering = render(city, camera, self.width, self.height)
        intrinsics = camera.intrinsics(self.width, self.height)
        write_view(files, rendering.image, rendering.depth, rendering.labels, intrinsics, camera.cam2world)


def _write_split(path: Path, scenes: Sequence[Scene], scores: dict[str, list[float]]) -> None:
    """Write the split of these scenes: all their images, with a pair of each aerial image and its ground image."""
    images = [image for scene in scenes for image in scene.images]
    owners = [scene.name for scene in scenes for _ in scene.images]
    pairs = np.arange(len(images), dtype=np.int64).reshape(-1, 2)
    overlaps = np.array([score for scene in scenes for score in scores[scene.name]])
    write_split(path, [scene.name for scene in scenes], images, owners, pairs, overlaps)
