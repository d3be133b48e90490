"""Files of a simulated view in AerialMegaDepth's layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from formats.aerial_megadepth import ImageFiles, write_camera
from formats.atomic import atomic_path
from formats.exr import write_depth
from formats.images import write_png

JPEG_QUALITY = 95


def write_view(
    files: ImageFiles,
    image: NDArray[np.uint8],
    depth: NDArray[np.float32],
    labels: NDArray[np.uint8],
    intrinsics: NDArray[np.float64],
    cam2world: NDArray[np.float64],
) -> None:
    """Write image, depth, mask and camera.

    Args:
        files: Paths, with one of the mask.
        image: (H, W, 3) RGB.
        depth: (H, W) in metres along the optical axis; 0 is sky.
        labels: (H, W) ADE20k classes numbered from 0.
        intrinsics: (3, 3) in pixels.
        cam2world: (4, 4) OpenCV axes, metres.
    """
    assert files.mask is not None
    with atomic_path(files.image) as temporary:
        Image.fromarray(image).save(temporary, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    write_depth(files.depth, depth)
    write_camera(files.camera, intrinsics, cam2world)
    write_png(files.mask, labels)
