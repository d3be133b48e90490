"""PatchPCA is the principal component analysis of patches, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from formats.errors import InputError
from networks.tokenizers import PatchPCA, to_unit

PATCH, CHANNELS = 4, 6


def varied_images(count: int = 12, side: int = 16) -> torch.Tensor:
    """Images (N, 3, side, side) in −1…1 whose patches lie in a CHANNELS-dimensional affine space."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(3 * PATCH**2, CHANNELS, generator=generator).double())[0]
    strengths = 0.5 ** torch.arange(CHANNELS)
    cells = (count, side // PATCH, side // PATCH, CHANNELS)
    coordinates = torch.randn(cells, generator=generator) * strengths
    patches = 0.1 + coordinates.double() @ directions.T
    return torch.nn.functional.pixel_shuffle(patches.movedim(-1, 1), PATCH).float()


def numpy_patches(images: torch.Tensor) -> np.ndarray:
    count, _, height, width = images.shape
    cells = images.double().numpy().reshape(count, 3, height // PATCH, PATCH, width // PATCH, PATCH)
    return cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3 * PATCH**2)


def test_images_of_as_many_dimensions_come_back() -> None:
    images = varied_images()
    pca = PatchPCA.fit(images.split(5), CHANNELS, PATCH)
    posterior = pca.encode(images)
    assert posterior.mean.shape == (12, CHANNELS, 4, 4) == (12, *pca.latent_shape(16, 16))
    assert torch.all(posterior.logvar == -30)
    torch.testing.assert_close(pca.decode(posterior.mode()), images, rtol=0, atol=2e-6)
    weaker = PatchPCA.fit([images], CHANNELS - 1, PATCH)
    assert (weaker.decode(weaker.encode(images).mode()) - images).abs().max() > 1e-3


def test_components_are_those_of_numpys_svd() -> None:
    images = varied_images()
    pca = PatchPCA.fit([images], CHANNELS, PATCH)
    patches = numpy_patches(images)
    expected = np.linalg.svd(patches - patches.mean(0), full_matrices=False)[2][:CHANNELS]
    expected *= np.sign((expected * pca.components.numpy()).sum(1, keepdims=True))  # signs are a choice
    np.testing.assert_allclose(pca.components.numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(pca.mean.numpy(), patches.mean(0), rtol=0, atol=1e-6)
    latents = pca.encode(images).mean.movedim(1, -1).reshape(-1, CHANNELS).numpy()
    np.testing.assert_allclose(latents, (patches - patches.mean(0)) @ expected.T, rtol=0, atol=1e-5)


def test_order_and_size_of_batches_do_not_matter() -> None:
    images = varied_images()
    first = PatchPCA.fit(images.split(5), CHANNELS, PATCH)
    again = PatchPCA.fit(images.split(5), CHANNELS, PATCH)
    assert first.fingerprint() == again.fingerprint()
    other = PatchPCA.fit(images.flip(0).split(1), CHANNELS, PATCH)
    torch.testing.assert_close(other.components, first.components, rtol=0, atol=1e-5)
    torch.testing.assert_close(other.mean, first.mean, rtol=0, atol=1e-5)


def test_signs_are_fixed_for_antisymmetric_components() -> None:
    """Ramps: their two largest entries are equal but for sign, which a rule by the largest entry trips over."""
    ramp = torch.linspace(-1, 1, PATCH).expand(3, PATCH, PATCH)
    amplitudes = torch.linspace(-1, 1, 9)[:, None, None, None]
    images = amplitudes * ramp
    fits = [PatchPCA.fit([images[torch.randperm(9)] * scale], 1, PATCH) for scale in (1.0, 0.9, 0.7, 0.3)]
    for fit in fits[1:]:
        torch.testing.assert_close(fit.components, fits[0].components, rtol=0, atol=1e-6)


def test_8_bit_images_are_brought_to_the_unit_range() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    pca = PatchPCA.fit([images], CHANNELS, PATCH)
    assert pca.fingerprint() == PatchPCA.fit([to_unit(images)], CHANNELS, PATCH).fingerprint()


def test_too_little_variation_is_refused() -> None:
    with pytest.raises(InputError, match=r"PatchPCA of 7 latent channels: 192 patches .* vary in 6 directions"):
        PatchPCA.fit([varied_images().double()], CHANNELS + 1, PATCH)
    with pytest.raises(InputError, match="vary in 0 directions"):
        PatchPCA.fit([torch.full((8, 3, 16, 16), 0.3)], 1, PATCH)
    with pytest.raises(InputError, match="0 patches"):
        PatchPCA.fit([], 1, PATCH)
    with pytest.raises(InputError, match=r"16×18 pixels.*patches of 4×4"):
        PatchPCA.fit([torch.zeros(1, 3, 16, 18)], 1, PATCH)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    pca = PatchPCA.fit([varied_images()], CHANNELS, PATCH)
    pca.save(tmp_path / "folder" / "pca.safetensors")
    loaded = PatchPCA.load(tmp_path / "folder" / "pca.safetensors")
    assert loaded.fingerprint() == pca.fingerprint()
    assert (loaded.latent_channels, loaded.downsampling) == (CHANNELS, PATCH)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        PatchPCA.load(tmp_path / "none.safetensors")
    (tmp_path / "garbage.safetensors").write_bytes(b"garbage" * 9)
    with pytest.raises(InputError, match="damaged"):
        PatchPCA.load(tmp_path / "garbage.safetensors")
    tensors = {"mean": torch.zeros(48), "components": torch.zeros(6, 48)}
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="not a patch PCA"):
        PatchPCA.load(tmp_path / "plain.safetensors")
    tensors["mean"] = torch.zeros(47)
    save_file(tensors, tmp_path / "bent.safetensors", {"kind": "trilight.patch_pca"})
    with pytest.raises(InputError, match="do not fit"):
        PatchPCA.load(tmp_path / "bent.safetensors")
