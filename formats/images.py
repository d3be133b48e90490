"""Read and write images; a file that cannot be read raises an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.local_files import require_file

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

COMPRESSION = 4  # of 9; speckle gains 2 % from the usual 6, which takes twice the time


@contextmanager
def open_image(
    source: str | Path | bytes,
    where: str | Path | None = None,
    remedy: str = "Replace the file or take it out of the folder.",
) -> Iterator[Image.Image]:
    """Open an image with Pillow; errors are raised as InputError, including decoding errors inside the ``with`` block.

    Args:
        source: Path of a file, or the content of one.
        where: Name of the source in errors; the path by default.
        remedy: Remedy suggested by errors.

    Raises:
        InputError: The file is missing, not a regular file, truncated, not an image, or so large that it may be a
            decompression bomb.
    """
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "a truncated image must raise"
    where = where or (source if isinstance(source, (str, Path)) else "image")
    if not isinstance(source, bytes):
        require_file(source, "Check the path.")
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(where, "cannot be read: it is not an image", remedy) from error
    except Exception as error:  # Pillow's decoders raise nearly anything for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(where, f"cannot be read: {reason}", remedy) from error


def read_rgb(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as 8-bit RGB (H, W, 3); greys and palettes are converted, alpha is dropped.

    Raises:
        InputError: The file is missing, truncated or not an image.
    """
    with open_image(path) as image:
        return np.asarray(_eight_bits(image, path).convert("RGB"))


class ImageKind(NamedTuple):
    """Size and kind of an image, from its header."""

    width: int
    height: int
    is_grey: bool
    has_16_bits: bool
    has_alpha: bool


def image_kind(path: str | Path) -> ImageKind | None:
    """Read the header of an image; None if it cannot be read."""
    try:
        with open_image(path) as image:
            mode = image.mode
            has_alpha = mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            return ImageKind(*image.size, mode[0] in "1LIF", mode.startswith("I"), has_alpha)
    except InputError:
        return None


def pad_to_square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Surround (H, W, 3) evenly with its median colour, so that it is a square."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.median(image, axis=(0, 1)).astype(np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def read_rgba(path: str | Path) -> NDArray[np.uint8]:
    """Read an image upright as 8-bit RGBA (H, W, 4), not premultiplied; opaque if it has no alpha.

    The EXIF orientation is applied, as viewers do.

    Raises:
        InputError: The file is missing, truncated or not an image.
    """
    with open_image(path) as image:
        return np.asarray(ImageOps.exif_transpose(_eight_bits(image, path)).convert("RGBA"))


def _eight_bits(image: Image.Image, path: str | Path) -> Image.Image:
    """Reduce 16-bit greys to 8 bits; Pillow would clip them at 255."""
    if image.mode == "F":
        raise InputError(path, "holds floating-point values of unknown range", "Save it with 8 or 16 bits.")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(path, "holds values outside 0 … 65535", "Save it with 8 or 16 bits.")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def read_grey(path: str | Path) -> NDArray[np.uint16]:
    """Read the values of a greyscale image of 8 or 16 bits, (H, W), without scaling.

    Raises:
        InputError: The file is missing, truncated, not an image, or not greyscale.
    """
    with open_image(path) as image:
        if image.mode not in ("1", "L", "I;16", "I;16B", "I"):
            fault = f"has colours of mode {image.mode} where grey values are expected"
            raise InputError(path, fault, "Give a greyscale image of 8 or 16 bits.")
        values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(path, "holds values outside 0 … 65535", "Give a greyscale image of 8 or 16 bits.")
    return values.astype(np.uint16)


def find_images(images: str | list[str], option: str, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """List the image files that a setting names: files in the order given, or all images of one folder by name.

    Args:
        images: A folder, a file, or several files.
        option: Name of the setting in errors, such as ``--data.images``.
        suffixes: Suffixes of the images in a folder.

    Raises:
        InputError: A file or the folder is missing, or there are no images.
    """
    paths = [Path(image) for image in ([images] if isinstance(images, str) else images)]
    if len(paths) == 1 and paths[0].is_dir():
        listed = (path for path in paths[0].iterdir() if path.suffix.lower() in suffixes)
        found = sorted(path for path in listed if not path.name.startswith("."))  # macOS leaves ._* files
        if not found:
            raise InputError(paths[0], "no images in this folder", f"Expected {', '.join(sorted(suffixes))}.")
        return found
    if not paths:
        raise InputError(option, "names no images", "Name files, or a folder.")
    for path in paths:
        if not path.is_file():
            fault = "is a folder among files" if path.is_dir() else "no such file"
            raise InputError(path, fault, f"Name image files, or one folder, with {option}.")
    return paths


def distinct_names(paths: list[Path]) -> list[str]:
    """Return file names; equal ones get a prefix to distinguish them: the folder's name, or else a number."""
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}_{path.name}" for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}_{path.name}" for number, path in enumerate(paths, 1)]
    return names


def on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paste RGBA (H, W, 4), not premultiplied, on white → RGB (H, W, 3)."""
    alpha = image[..., 3:].astype(np.uint32)
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resize_rgb(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to (height, width, 3) by antialiased bicubic interpolation."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def write_png(path: str | Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write (H, W, 3), (H, W, 4) or (H, W) of 8 bits, or (H, W) of 16 bits, as a PNG file."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=COMPRESSION)
