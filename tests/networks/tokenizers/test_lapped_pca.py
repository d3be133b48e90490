"""LappedPCA codes overlapping strips without seams, in levels of a colour map or in RGB, and draws speckle again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from formats.colour_maps import levels_to_colours, palette
from formats.errors import InputError
from metrics.spectrogram_physics import border_ratio, image_levels
from networks.tokenizers import LappedPCA, to_uint8, to_unit
from networks.tokenizers.speckle import local_strength

CHANNELS = 32


def smooth_levels(count: int, seed: int = 0, side: int = 64) -> Tensor:
    """Levels (N, 1, side, side) in 0.1…0.9 that vary slowly."""
    coarse = torch.randn(count, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    return (0.5 + 0.15 * smooth).clamp(0.1, 0.9)


def grainy_images(count: int, seed: int = 0) -> Tensor:
    """uint8 images (N, 3, 64, 64) in the colours of jet, with grain in the right half."""
    levels = smooth_levels(count, seed)
    grain = 0.08 * torch.randn(levels.shape, generator=torch.Generator().manual_seed(seed + 100))
    grain[..., :32] = 0
    return levels_to_colours(levels + grain, palette("jet"))


@pytest.fixture(scope="module")
def tokenizer() -> LappedPCA:
    return LappedPCA.fit(grainy_images(24).split(5), CHANNELS)


def test_smooth_images_come_back_without_seams() -> None:
    images = levels_to_colours(smooth_levels(24), palette("jet"))
    code = LappedPCA.fit([images], 44)
    posterior = code.encode(to_unit(images))
    assert posterior.mean.shape == (24, 44, 1, 4) == (24, *code.latent_shape(64, 64))
    assert code.image_size(posterior.mean) == (64, 64)
    assert torch.all(posterior.logvar == -30)
    levels, decoded = image_levels(images), image_levels(to_uint8(code.decode(posterior.mode())))
    assert (decoded - levels).abs().mean() < 0.01
    for block in (16, 32):
        assert border_ratio(decoded, block).mean() / border_ratio(levels, block).mean() == pytest.approx(1, abs=0.1)


def test_decoded_colours_are_those_of_the_colour_map(tokenizer: LappedPCA) -> None:
    latents = torch.randn(2, CHANNELS, 1, 4, generator=torch.Generator().manual_seed(1))
    decoded = to_uint8(tokenizer.decode(latents))
    colours = decoded.movedim(1, -1).reshape(-1, 3).unique(dim=0)
    known = {tuple(colour) for colour in palette("jet").tolist()}
    assert {tuple(colour) for colour in colours.tolist()} <= known


def test_drawn_speckle_has_the_strength_and_place_of_the_images(tokenizer: LappedPCA) -> None:
    images = grainy_images(6, seed=7)
    latents = tokenizer.encode(to_unit(images)).mode()
    noise = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def grain(part: Tensor, columns: slice) -> float:
        return float(part[..., columns].diff(dim=2).std())

    real, plain = image_levels(images), image_levels(to_uint8(tokenizer.decode(latents)))
    drawn = image_levels(to_uint8(tokenizer.decode(latents, noise)))
    speckled, smooth = slice(40, 64), slice(0, 20)
    assert grain(plain, speckled) < 0.6 * grain(real, speckled)
    assert grain(drawn, speckled) == pytest.approx(grain(real, speckled), rel=0.2)
    assert grain(drawn, smooth) < 0.45 * grain(drawn, speckled)
    other = tokenizer.decode(latents, -noise)
    assert not torch.equal(other, tokenizer.decode(latents, noise))


def test_last_channels_hold_the_strength_of_what_is_left(tokenizer: LappedPCA) -> None:
    images = grainy_images(3, seed=9)
    latents = tokenizer.encode(to_unit(images)).mode()
    residual = image_levels(images)[:, None] - tokenizer._expand(latents[:, :-4])
    cells = tokenizer.texture_mean + tokenizer.texture_components.T @ latents[:, -4:, 0]  # (3, 8 rows · 2, 4)
    strength = cells.unflatten(1, (8, 2)).permute(0, 1, 3, 2).flatten(2)[:, None]
    assert (strength - local_strength(residual)).abs().mean() < 0.3
    assert strength[..., 5:].mean() > strength[..., :3].mean() + 1  # the grain is in the right half


def test_images_of_another_height_are_refused(tokenizer: LappedPCA) -> None:
    with pytest.raises(InputError, match="48×64 pixels.*64 rows"):
        tokenizer.encode(torch.zeros(1, 3, 48, 64))
    assert tokenizer.encode(torch.zeros(1, 3, 64, 96)).mean.shape == (1, CHANNELS, 1, 6)


@pytest.mark.slow
def test_images_without_a_colour_map_are_coded_as_rgb() -> None:
    levels = [smooth_levels(24, seed) for seed in (1, 2, 3)]
    images = (255 * torch.cat(levels, dim=1)).round().to(torch.uint8)
    code = LappedPCA.fit([images], 64)
    assert not len(code.colours)
    decoded = code.decode(code.encode(to_unit(images)).mode())
    assert (decoded - to_unit(images)).abs().mean() < 0.05


@pytest.mark.slow
def test_order_of_batches_does_not_matter() -> None:
    images = grainy_images(12)
    first, again = LappedPCA.fit(images.split(5), CHANNELS), LappedPCA.fit(images.split(5), CHANNELS)
    assert first.fingerprint() == again.fingerprint()
    other = LappedPCA.fit([images], CHANNELS)
    torch.testing.assert_close(other.components, first.components, rtol=0, atol=1e-4)


def test_wrong_images_are_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        LappedPCA.fit([], CHANNELS)
    with pytest.raises(InputError, match=r"64×72 pixels.*multiples of 16"):
        LappedPCA.fit([torch.zeros(1, 3, 64, 72, dtype=torch.uint8)], CHANNELS)
    with pytest.raises(InputError, match="hold speckle"):
        LappedPCA.fit([grainy_images(2)], 4)
    with pytest.raises(InputError, match="vary in 0 directions"):
        LappedPCA.fit([torch.zeros(4, 3, 32, 32, dtype=torch.uint8)], CHANNELS)
    with pytest.raises(InputError, match="4 strips vary in 4 directions"):
        LappedPCA.fit([grainy_images(1)], CHANNELS)


def test_saved_and_loaded_it_is_the_same(tokenizer: LappedPCA, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "folder" / "code.safetensors")
    loaded = LappedPCA.load(tmp_path / "folder" / "code.safetensors")
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert (loaded.latent_channels, loaded.downsampling) == (CHANNELS, 16)


def test_other_files_are_refused(tokenizer: LappedPCA, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        LappedPCA.load(tmp_path / "none.safetensors")
    (tmp_path / "garbage.safetensors").write_bytes(b"garbage" * 9)
    with pytest.raises(InputError, match="damaged"):
        LappedPCA.load(tmp_path / "garbage.safetensors")
    tensors = tokenizer.state_dict()
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="not a lapped PCA"):
        LappedPCA.load(tmp_path / "plain.safetensors")
    bent = tensors | {"mean": torch.zeros(2)}
    save_file(bent, tmp_path / "bent.safetensors", {"kind": "trilight.lapped_pca"})
    with pytest.raises(InputError, match="do not fit"):
        LappedPCA.load(tmp_path / "bent.safetensors")
