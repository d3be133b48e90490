"""Colours of a colour map are recognised and turned into levels and back."""

from __future__ import annotations

import pytest
import torch

from formats.colour_maps import COLOUR_MAPS, colours_to_levels, find_palette, levels_to_colours, palette


def ramp() -> torch.Tensor:
    """Every level once, (1, 1, 16, 16)."""
    return torch.arange(256).view(1, 1, 16, 16) / 255


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_each_colour_map_is_recognised_and_read_back(name: str) -> None:
    images = levels_to_colours(ramp(), palette(name))
    found = find_palette(images)
    assert found is not None
    assert torch.equal(found, palette(name))
    levels = colours_to_levels(images, found)
    assert levels.shape == (1, 1, 16, 16)
    # Some colour maps repeat colours at their ends, jet for five levels.
    assert (levels - ramp()).abs().max() <= 4.5 / 255


def test_slightly_changed_colours_keep_their_level() -> None:
    images = levels_to_colours(ramp(), palette("jet"))
    noise = torch.randint(-2, 3, images.shape, generator=torch.Generator().manual_seed(0))
    changed = (images + noise).clamp(0, 255).to(torch.uint8)
    assert find_palette(changed) is not None
    assert (colours_to_levels(changed, palette("jet")) - ramp()).abs().mean() < 2 / 255


def test_other_colours_are_of_no_colour_map() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert find_palette(images) is None


def test_levels_outside_the_scale_take_the_end_colours() -> None:
    images = levels_to_colours(torch.tensor([[[[-1.0, 2.0]]]]), palette("viridis"))
    assert torch.equal(images[0, :, 0].T, palette("viridis")[[0, 255]])
