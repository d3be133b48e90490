"""``load_tokenizer`` opens each kind of tokenizer, frozen, and refuses other files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from formats.errors import InputError
from networks.tokenizers import VAVAE, DiffusersKL, LappedPCA, load_tokenizer
from tests.support.filling import filled_state_dict
from tests.support.hub_cache import HubCache

PARITY = Path(__file__).parents[2] / "parity"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small KL autoencoder of two levels, as diffusers saves it."""
    torch.manual_seed(0)
    autoencoder: Any = AutoencoderKL(  # diffusers' classes are untyped
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 32),
        latent_channels=4,
        scaling_factor=0.5,
    )
    folder = tmp_path_factory.mktemp("kl")
    autoencoder.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
@torch.no_grad()
def test_a_published_vavae_is_built_by_its_shapes(tmp_path: Path, suffix: str) -> None:
    state = filled_state_dict(json.loads((PARITY / "vavae_small.keys.json").read_text()))
    state["loss.logvar"] = torch.zeros(())
    path = tmp_path / f"vavae{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, VAVAE)
    assert (tokenizer.latent_channels, tokenizer.downsampling) == (8, 16)
    assert not tokenizer.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in tokenizer.parameters())
    expected = load_file(PARITY / "vavae_small.safetensors")
    torch.testing.assert_close(tokenizer.encode(expected["image"]).mean, expected["mean"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_diffusers_folder_gives_raw_latents(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, DiffusersKL)
    assert (tokenizer.latent_channels, tokenizer.downsampling) == (4, 2)
    assert not tokenizer.training
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters())
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    peer = AutoencoderKL.from_pretrained(folder)
    latents = tokenizer.encode(images).mean
    assert latents.shape == (2, *tokenizer.latent_shape(16, 24))
    assert torch.equal(latents, peer.encode(images).latent_dist.mean)
    assert torch.equal(tokenizer.decode(latents), peer.decode(latents).sample)


@pytest.mark.slow
def test_a_lapped_pca_is_known_by_its_metadata(tmp_path: Path) -> None:
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pca = LappedPCA.fit([images], latent_channels=5)
    pca.save(tmp_path / "pca.safetensors")
    loaded = load_tokenizer(tmp_path / "pca.safetensors")
    assert isinstance(loaded, LappedPCA)
    assert loaded.fingerprint() == pca.fingerprint()


def test_anything_but_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        load_tokenizer(tmp_path / "none.pt")
    with pytest.raises(InputError, match=r"no config\.json.*save_pretrained"):
        load_tokenizer(tmp_path)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: not a published VA-VAE.*config\.json"):
        load_tokenizer(tmp_path / "other.pt")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(InputError, match=r"readme\.txt: '\.txt' is not a checkpoint"):
        load_tokenizer(tmp_path / "readme.txt")
    state = filled_state_dict(json.loads((PARITY / "vavae_small.keys.json").read_text()))
    del state["encoder.mid.attn_1.q.weight"]
    torch.save(state, tmp_path / "hole.pt")
    with pytest.raises(InputError, match=r"hole\.pt: 1 missing: encoder\.mid\.attn_1\.q\.weight"):
        load_tokenizer(tmp_path / "hole.pt")


def test_folders_that_do_not_hold_together_are_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    weights = "diffusion_pytorch_model.safetensors"

    def folder_with(name: str, changes: dict[str, object], tensors: dict[str, torch.Tensor] | None) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config | changes))
        if tensors is not None:
            save_file(tensors, tmp_path / name / weights, {"format": "pt"})
        return tmp_path / name

    tensors = load_file(folder / weights)
    with pytest.raises(InputError, match="not 'AutoencoderKL'"):
        load_tokenizer(folder_with("class", {"_class_name": "VQModel"}, tensors))
    with pytest.raises(InputError, match="not for RGB"):
        load_tokenizer(folder_with("channels", {"in_channels": 4}, tensors))
    with pytest.raises(InputError, match=r"safetensors: no such file"):
        load_tokenizer(folder_with("bare", {}, None))
    with pytest.raises(InputError, match="cannot be loaded|do not fit"):
        load_tokenizer(folder_with("shapes", {"latent_channels": 8}, tensors))
    hole = {name: tensor for name, tensor in tensors.items() if name != "quant_conv.bias"}
    with pytest.raises(InputError, match=r"do not fit.*1 missing_keys such as quant_conv\.bias"):
        load_tokenizer(folder_with("hole", {}, hole))
    shutil.copytree(folder, tmp_path / "json")
    (tmp_path / "json" / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        load_tokenizer(tmp_path / "json")


def test_tokenizers_are_found_on_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HubCache(tmp_path, monkeypatch)
    for file in ("config.json", "diffusion_pytorch_model.safetensors"):
        cache.add("owner/kl", f"vae/{file}", (folder / file).read_bytes())
    found, expected = load_tokenizer("hf://owner/kl/vae"), load_tokenizer(folder)
    assert found.fingerprint() == expected.fingerprint()
    with pytest.raises(InputError, match="is not in the cache"):
        load_tokenizer("hf://owner/kl/vae.pt")
