"""Pictures: read whole or refused by name, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from formats.atomic import atomic_path
from formats.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

COMPRESSION = 4  # of 9; speckle gains 2 % from the usual 6, which takes twice the time


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture; what is wrong with it is raised as InputError, while it is decoded too."""
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "a truncated picture must raise"
    remedy = "Replace the file or take it out of the folder."
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "Check the path.") from None
    except Image.DecompressionBombError as fault:
        raise InputError(path, f"cannot be read: {fault}", remedy) from fault
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as fault:
        if isinstance(fault, InputError):
            raise
        detail = "it is no picture" if isinstance(fault, UnidentifiedImageError) else str(fault)
        raise InputError(path, f"cannot be read: {detail}", remedy) from fault


def read_rgb(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture as RGB (H, W, 3) of 8 bits; greys and palettes are converted, alpha is dropped.

    Raises:
        InputError: The file is missing, truncated or no picture.
    """
    with _opened(path) as image:
        return np.asarray(_eight_bits(image, path).convert("RGB"))


def read_rgba(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture upright as RGBA (H, W, 4) of 8 bits, not premultiplied; without alpha it is opaque.

    Upright is as cameras note it (EXIF orientation), and as viewers show it.

    Raises:
        InputError: The file is missing, truncated or no picture.
    """
    with _opened(path) as image:
        return np.asarray(ImageOps.exif_transpose(_eight_bits(image, path)).convert("RGBA"))


def _eight_bits(image: Image.Image, path: str | Path) -> Image.Image:
    """Reduce 16-bit greys to 8 bits; Pillow would cut them off at 255."""
    if image.mode == "F":
        raise InputError(path, "holds floating-point numbers, whose range nobody knows", "Save it with 8 or 16 bits.")
    if not image.mode.startswith("I"):
        return image
    numbers = np.asarray(image).astype(np.int64)
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 65535:
        raise InputError(path, "holds numbers outside 0 … 65535", "Save it with 8 or 16 bits.")
    return Image.fromarray(((numbers + 128) // 257).astype(np.uint8))


def read_grey(path: str | Path) -> NDArray[np.uint16]:
    """Read the numbers of a grey picture of 8 or 16 bits, (H, W), as they stand in the file.

    Raises:
        InputError: The file is missing, truncated, no picture, or not grey.
    """
    with _opened(path) as image:
        if image.mode not in ("1", "L", "I;16", "I;16B", "I"):
            fault = f"has colours of mode {image.mode} where grey numbers are expected"
            raise InputError(path, fault, "Give a grey picture of 8 or 16 bits.")
        numbers = np.asarray(image)
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 65535:
        raise InputError(path, "holds numbers outside 0 … 65535", "Give a grey picture of 8 or 16 bits.")
    return numbers.astype(np.uint16)


def find_images(given: str | list[str], option: str) -> list[Path]:
    """The image files that a setting names: files in their order, or all images of one folder by name.

    Args:
        given: A folder, a file, or files.
        option: What errors call the setting, such as ``--data.images``.

    Raises:
        InputError: A file or the folder is missing, or there are no images.
    """
    paths = [Path(image) for image in ([given] if isinstance(given, str) else given)]
    if len(paths) == 1 and paths[0].is_dir():
        listed = (path for path in paths[0].iterdir() if path.suffix.lower() in SUFFIXES)
        found = sorted(path for path in listed if not path.name.startswith("."))  # what systems put beside files
        if not found:
            raise InputError(paths[0], "no images in this folder", f"Expected {', '.join(sorted(SUFFIXES))}.")
        return found
    if not paths:
        raise InputError(option, "names no images", "Name files, or a folder.")
    for path in paths:
        if not path.is_file():
            fault = "is a folder among files" if path.is_dir() else "there is no such file"
            raise InputError(path, fault, f"Name image files, or one folder, with {option}.")
    return paths


def distinct_names(paths: list[Path]) -> list[str]:
    """File names; with that of the folder, or else a number, before them where two files have the same."""
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}_{path.name}" for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}_{path.name}" for number, path in enumerate(paths, 1)]
    return names


def on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay RGBA (H, W, 4), not premultiplied, on white: RGB (H, W, 3)."""
    alpha = image[..., 3:].astype(np.uint32)
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resize_rgb(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to (height, width, 3) by antialiased bicubic interpolation."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def write_png(path: str | Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write (H, W, 3), (H, W, 4) or (H, W) of 8 bits, or (H, W) of 16 bits, as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=COMPRESSION)
