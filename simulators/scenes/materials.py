"""Procedural materials: patterns of two colours with noise, evaluated at points of many surfaces at once."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from simulators.city.solids import Array

NOISE_SIZE = 256  # a power of 2, so that the noise repeats without a seam
PLAIN, CHECKER, STRIPES, BRICKS, WINDOWS, SPOTS = range(6)

MATERIAL = np.dtype(
    [
        ("first", np.float64, 3),  # reflectances 0…1 as shown on a screen
        ("second", np.float64, 3),
        ("pattern", np.int64),
        ("cells", np.float64, 2),  # size of the pattern's cell along u and v, in metres
        ("grain", np.float64),  # size of the noise's coarsest cell, in metres
        ("roughness", np.float64),  # amplitude of the noise
        ("offset", np.float64),  # moves pattern and noise, so that equal materials differ
    ]
)


@cache
def noise_table() -> Array:
    """Return smooth noise of four octaves on a torus, (NOISE_SIZE, NOISE_SIZE), mean 0 and standard deviation 1."""
    rng = np.random.default_rng(20260)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(NOISE_SIZE), np.fft.fftfreq(NOISE_SIZE)))
    frequencies[0, 0] = 1.0
    amplitude = np.where(frequencies < 0.25, frequencies**-1.2, 0.0)
    amplitude[0, 0] = 0.0
    spectrum = np.fft.fft2(rng.standard_normal((NOISE_SIZE, NOISE_SIZE))) * amplitude
    values: Array = np.fft.ifft2(spectrum).real
    values /= values.std()
    return values


def noise(u: Array, v: Array) -> Array:
    """Look up the noise at (u, v), each (N,); a cell of the table has the size 1 / 16."""
    i, j = (16 * u).astype(np.int64), (16 * v).astype(np.int64)
    values: Array = noise_table()[i & (NOISE_SIZE - 1), j & (NOISE_SIZE - 1)]
    return values


def random_colour(rng: np.random.Generator) -> Array:
    """Draw a reflectance (3,): any hue, from grey to saturated, from dark to bright."""
    hue = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.1, 4.2])
    saturation = rng.uniform(0.0, 1.0) ** 1.5
    colour: Array = np.clip(rng.uniform(0.12, 0.92) * (1 - saturation * (0.5 - 0.5 * np.cos(hue))), 0.02, 0.97)
    return colour


def random_material(rng: np.random.Generator, size: float, patterns: tuple[int, ...]) -> tuple[object, ...]:
    """Draw a material as a record of the type ``MATERIAL``.

    Args:
        rng: Source of the draws.
        size: Size of the surface in metres; cells are a share of it.
        patterns: Patterns to choose from.
    """
    first = random_colour(rng)
    contrast = rng.uniform(0.15, 1.0)
    second = (1 - contrast) * first + contrast * random_colour(rng)
    cell = size * rng.uniform(0.08, 0.4)
    return (
        first,
        second,
        int(rng.choice(patterns)),
        (cell, cell * rng.uniform(0.5, 1.5)),
        size * rng.uniform(0.3, 2.0),
        rng.uniform(0.03, 0.3),
        rng.uniform(0, 100),
    )


def colours(material: NDArray[np.void], u: Array, v: Array, covered: Array) -> Array:
    """Reflectances (N, 3) of points on surfaces.

    Args:
        material: (N,) records of the type ``MATERIAL``.
        u: (N,) first coordinate on the surface, in metres.
        v: (N,) second coordinate on the surface, in metres.
        covered: (N,) length that a pixel covers there, in metres; patterns finer than that are averaged.
    """
    pattern, offset = material["pattern"], material["offset"]
    a, b = u / material["cells"][:, 0] + offset, v / material["cells"][:, 1]
    a = a + np.where(pattern == BRICKS, 0.5 * (np.floor(b) % 2), 0.0)
    i, j = np.floor(a), np.floor(b)
    p, q = a - i, b - j
    share = np.zeros(len(u))
    for number, value, mean in (
        (CHECKER, (i + j) % 2 == 0, 0.5),
        (STRIPES, p < 0.5, 0.5),
        (BRICKS, (p < 0.1) | (q < 0.14), 0.23),
        (WINDOWS, (np.abs(p - 0.5) < 0.27) & (np.abs(q - 0.5) < 0.3), 0.32),
    ):
        chosen = pattern == number
        share[chosen] = value[chosen]
        # Cells of less than two pixels are shown as their mean.
        fine = chosen & (np.minimum(material["cells"][:, 0], material["cells"][:, 1]) < 2.0 * covered)
        share[fine] = mean
    grain = material["grain"]
    x, y = u / grain + 3.1 * offset, v / grain + 1.7 * offset
    coarse = noise(x, y)
    fine_noise = np.where(grain > 4 * covered, noise(5.3 * x, 5.3 * y), 0.0)
    spots = pattern == SPOTS
    share[spots] = 1 / (1 + np.exp(-4 * coarse[spots]))
    result: Array = material["first"] + share[:, None] * (material["second"] - material["first"])
    result *= np.clip(1 + material["roughness"] * (coarse + 0.7 * fine_noise), 0.2, 1.8)[:, None]
    return result
