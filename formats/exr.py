"""Read and write depth maps in OpenEXR files; errors name the file that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.local_files import require_file

DEPTH_CHANNELS = ("Y", "Z", "R", "V")
COLOUR_CHANNELS = frozenset({"G", "B", "RY", "BY"})

REMEDY = "Replace the file by a depth map with one channel, or remove it from the data."


def read_depth(path: str | Path) -> NDArray[np.float32]:
    """Read a depth map as (H, W) float32 with the unit and values of the file.

    The depth channel is the only channel, regardless of its name, or the only one called Y, Z, R or V if there is no
    colour channel. Half and float, and all compressions, are supported.

    Raises:
        InputError: The file is missing, truncated, corrupt or not an EXR file; it has several parts, colour, integers
            or a subsampled channel; or its pixels cover only part of the image.
    """
    require_file(path, "Check the path, and that the dataset is complete.")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            # Parts whose pixels cannot be decoded are omitted from the list, with a warning on the terminal.
            if len(file.parts) != 1:
                fault = "is truncated or corrupt" if not file.parts else f"has {len(file.parts)} parts, not one"
                raise InputError(path, fault, REMEDY)
            return _depth(path, file.channels(), file.header())
    except InputError:
        raise
    except Exception as fault:  # the library raises nearly anything for a damaged file
        raise InputError(path, f"cannot be read as OpenEXR: {fault}", REMEDY) from fault


def _depth(path: str | Path, channels: dict[str, Any], header: dict[str, Any]) -> NDArray[np.float32]:
    names = sorted(channels)
    named = names if len(names) == 1 else [name for name in names if name in DEPTH_CHANNELS]
    if len(named) != 1 or (len(names) > 1 and COLOUR_CHANNELS.intersection(names)):
        fault = f"has the channels {', '.join(names)}, and it is not clear which is depth"
        raise InputError(path, fault, "Write depth as a single channel called Y, Z, R or V.")
    channel = channels[named[0]]
    pixels = np.asarray(channel.pixels)
    if pixels.ndim != 2 or not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            path, f"must hold half or float of shape (H, W), not {pixels.dtype} of shape {pixels.shape}", REMEDY
        )
    low, high = header["dataWindow"]
    if pixels.shape != (high[1] - low[1] + 1, high[0] - low[0] + 1):
        raise InputError(path, "does not have the number of pixels that its header declares", REMEDY)
    if not all(np.array_equal(a, b) for a, b in zip(header["dataWindow"], header["displayWindow"], strict=True)):
        raise InputError(
            path, "covers only part of its image", "Write depth for the whole image, with 0 where it is unknown."
        )
    return np.ascontiguousarray(pixels, dtype=np.float32)


def write_depth(path: str | Path, depth: NDArray[np.float32], channel: str = "Y") -> None:
    """Write depth (H, W) as 32-bit floats in one channel, ZIP compressed.

    Args:
        path: The file; missing folders are created.
        depth: (H, W); 0 is invalid.
        channel: Name of the channel.
    """
    if depth.ndim != 2:
        raise ValueError(f"depth must have shape (H, W), not {depth.shape}")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = np.ascontiguousarray(depth, dtype=np.float32)
    with atomic_path(path) as temporary, OpenEXR.File(header, {channel: pixels}) as file:
        file.write(str(temporary))
