"""A layer of a decomposed illustration."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Layer:
    """One layer of an illustration, of the size of its canvas.

    Lists of layers are ordered bottom to top.

    Attributes:
        name: Display name, such as ``layer 2``; distinct within an illustration.
        pixels: (H, W, 4) uint8, RGBA, not premultiplied. Parts hidden by layers above are inpainted.
        index: Layer index in 0…1: 0 the background, 1 the foremost layer.
    """

    name: str
    pixels: NDArray[np.uint8]
    index: float

    @property
    def xml_name(self) -> str:
        """Name in which characters that XML does not allow are replaced."""
        return _NOT_XML.sub("\ufffd", self.name)
