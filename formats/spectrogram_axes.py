"""``axes.json``: what the sides of a folder's spectrogram images mean, in seconds and metres per second."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from formats.atomic import write_json
from formats.errors import InputError
from formats.local_files import read_json_object

AXES = "axes.json"
_REMEDY = (
    'Write it as {"seconds": 2.5, "low_speed": -1.5, "high_speed": 6.0}: time across an image, and the radial speeds '
    "in m/s at its lower and upper edge."
)


@dataclass(frozen=True)
class SpectrogramAxes:
    """Axes shared by all images of a dataset.

    Args:
        seconds: Time across an image, left to right.
        low_speed: Radial speed at the lower edge in m/s, negative for receding.
        high_speed: Radial speed at the upper edge in m/s.

    Raises:
        ValueError: The numbers are not axes.
    """

    seconds: float
    low_speed: float
    high_speed: float

    def __post_init__(self) -> None:
        numbers = (self.seconds, self.low_speed, self.high_speed)
        if not all(map(math.isfinite, numbers)) or self.seconds <= 0 or self.low_speed >= self.high_speed:
            raise ValueError("seconds must be above 0 and low_speed below high_speed")

    @property
    def speed_range(self) -> float:
        """Speeds from the lower to the upper edge, in m/s."""
        return self.high_speed - self.low_speed

    @property
    def zero_doppler_row(self) -> float:
        """Place of zero Doppler as a share of the height from the top; outside 0…1 where it is not in the image."""
        return self.high_speed / self.speed_range

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers, for checkpoints and files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Any, where: str | Path) -> SpectrogramAxes:
        """Inverse of :meth:`to_dict`.

        Raises:
            InputError: The content is something else.
        """
        try:
            return cls(**{name: float(value) for name, value in content.items()})
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise InputError(where, f"does not hold the axes of spectrograms: {error}", _REMEDY) from error

    def write(self, folder: str | Path) -> None:
        """Write ``axes.json`` into a folder of images."""
        write_json(Path(folder) / AXES, self.to_dict())

    @classmethod
    def read(cls, folder: str | Path) -> SpectrogramAxes | None:
        """Read the ``axes.json`` of a folder; None if there is none.

        Raises:
            InputError: The file is broken.
        """
        path = Path(folder) / AXES
        return cls.from_dict(read_json_object(path, _REMEDY), path) if path.exists() else None
