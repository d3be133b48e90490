"""Modules are saved as a folder, and come back with the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from formats.errors import InputError
from formats.latent_shards import LatentStatistics
from formats.latent_space import LatentSpace
from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.region_order import RegionOrderModule
from lightning_modules.sharing import SharingMixin
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.checkpoints import load_published
from networks.depth_pro import PRESETS as DEPTH_PRO
from networks.lightning_dit import LightningDiTConfig
from networks.tokenizers import LappedPCA
from networks.vggt import PRESETS as VGGT_SIZES
from networks.vggt import VGGT
from tests.support.hub_cache import HubCache

FILES = {"model.safetensors", "config.json", "README.md"}
CARD = {"licence": "Apache-2.0", "data": "Two drawings.", "limits": "Knows two drawings."}


def generator(mixture: int = 0) -> UserConditionedDiTModule:
    torch.manual_seed(0)
    config = LightningDiTConfig(
        input_size=1, input_width=4, in_channels=6, hidden_size=32, depth=1, num_heads=2, num_classes=2
    )
    settings: dict[str, Any] = {"mixture_rank": 2, "mixture_neighbours": 3}
    module = UserConditionedDiTModule(
        config, mixture_components=mixture, num_steps=4, guidance_scale=2.0, guided_channels=3, **settings
    )
    images = torch.randint(0, 256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    tokenizer = LappedPCA.fit([images], 6)
    statistics = LatentStatistics(torch.rand(6), torch.rand(6) + 1)
    module.latent_space = LatentSpace(
        statistics, "dataset", 1.0, torch.tensor([1, 4]), tokenizer_fingerprint=tokenizer.fingerprint()
    )
    module._tokenizer.append(tokenizer.eval().requires_grad_(False))
    for parameter in module.parameters():  # the last layer starts at zero
        torch.nn.init.normal_(parameter, std=0.05)
    if module.mixture is not None:
        module.mixture.fit(torch.randn(16, 6, 1, 4), torch.arange(16) % 2)
    return module.eval()


@pytest.mark.parametrize("mixture", [0, 3])
def test_a_generator_draws_the_same_images(mixture: int, tmp_path: Path) -> None:
    module = generator(mixture)
    module.save_pretrained(tmp_path / "shared", CARD)
    found = UserConditionedDiTModule.from_pretrained(tmp_path / "shared")
    request = torch.tensor([1, 4, 4]), torch.tensor([0, 0, 1])
    assert torch.equal(found.generate(*request), module.generate(*request))
    assert found.hparams["guided_channels"] == 3
    assert found.require_latent_space().user_ids.tolist() == [1, 4]


def test_another_tokenizer_is_named_and_not_copied(tmp_path: Path) -> None:
    module = generator()
    module._tokenizer.clear()
    space = module.require_latent_space()
    for name, kept in (("hf://owner/vae/vae.pt", "hf://owner/vae/vae.pt"), ("/home/me/vae.pt", "")):
        module.latent_space = LatentSpace(
            space.statistics, space.policy, 1.0, space.user_ids, tokenizer=name, tokenizer_fingerprint="abc"
        )
        folder = module.save_pretrained(tmp_path / "shared")
        assert "/home/me" not in (folder / "config.json").read_text()
        found = UserConditionedDiTModule.from_pretrained(folder).require_latent_space()
        assert (found.tokenizer, found.tokenizer_fingerprint) == (kept, "abc")
        assert not any(name.startswith("tokenizer.") for name in load_file(folder / "model.safetensors"))


def test_depth_and_cameras_are_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, images = PairDepthCameraModule(network=VGGT_SIZES["tiny"]).eval(), torch.rand(1, 2, 3, 56, 70)
    module.save_pretrained(tmp_path, CARD)
    found: dict[str, Any] = {**PairDepthCameraModule.from_pretrained(tmp_path).predict_scene(images)}
    expected: dict[str, Any] = {**module.predict_scene(images)}
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    network = VGGT(VGGT_SIZES["tiny"])  # the published naming
    load_published(network, tmp_path / "model.safetensors")
    assert all(torch.equal(value, module.network.state_dict()[name]) for name, value in network.state_dict().items())


def test_the_layer_index_is_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = LayerIndexModule(network=DEPTH_PRO["tiny"]).eval()
    module.save_pretrained(tmp_path, CARD)
    image = torch.randint(0, 256, (1, 3, 90, 120), dtype=torch.uint8)
    assert torch.equal(LayerIndexModule.from_pretrained(tmp_path).predict_index(image), module.predict_index(image))


def test_weights_of_the_repository_are_found_by_name_and_saved_with_their_card(tmp_path: Path) -> None:
    module = RegionOrderModule.from_pretrained("region_order")
    module.save_pretrained(tmp_path)
    image = torch.zeros(1, 3, 60, 60, dtype=torch.uint8)
    image[:, :, 10:40, 10:40], image[:, 0, 20:50, 20:50] = 100, 255
    found = RegionOrderModule.from_pretrained(tmp_path)
    assert torch.equal(found.predict_index(image), module.predict_index(image))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license: cc0-1.0" in card
    assert "Photographs and textures give meaningless regions." in " ".join(card.split())


def test_folder_holds_plain_settings_and_a_card(tmp_path: Path) -> None:
    LayerIndexModule(network=DEPTH_PRO["tiny"]).save_pretrained(tmp_path, CARD)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["module"] == "LayerIndexModule"
    assert config["network"]["window"] == DEPTH_PRO["tiny"].window
    _, front, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "apache-2.0",
        "library_name": "trilight",
        "tags": ["trilight", *LayerIndexModule.TAGS],
    }
    assert "trilight.LayerIndexModule.from_pretrained" in text
    assert "Knows two drawings." in text
    assert "## Measures\n\nNot stated." in text


def test_a_licence_of_ones_own_is_named(tmp_path: Path) -> None:
    LayerIndexModule(network=DEPTH_PRO["tiny"]).save_pretrained(tmp_path, {"licence": "For my students"})
    front = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert (front["license"], front["license_name"]) == ("other", "For my students")


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    folder = LayerIndexModule(network=DEPTH_PRO["tiny"]).save_pretrained(tmp_path / "layers")
    with pytest.raises(InputError, match="holds the weights of LayerIndexModule, not of PairDepthCameraModule"):
        PairDepthCameraModule.from_pretrained(folder)
    with pytest.raises(InputError, match=r"no such folder or weights.*region_order"):
        LayerIndexModule.from_pretrained("missing")
    with pytest.raises(InputError, match="has an entry 'license'"):
        LayerIndexModule.from_pretrained(folder).save_pretrained(tmp_path / "b", {"license": "MIT"})
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"does not have the SHA-256 that config\.json states"):
        LayerIndexModule.from_pretrained(folder)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = generator().save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for change in ({"network": {**config["network"], "depth": 2}}, {"sampling": {"num_steps": 0}}, {"mixture": None}):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(InputError):
            UserConditionedDiTModule.from_pretrained(folder)


def test_an_untrained_generator_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no network yet"):
        UserConditionedDiTModule().save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())


def test_weights_go_to_the_hub_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HubCache(tmp_path, monkeypatch)

    class Api:
        def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
            assert private
            assert exist_ok

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
            for path in Path(folder_path).iterdir():
                cache.add(repo_id, path.name, path.read_bytes())

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    module: SharingMixin = LayerIndexModule(network=DEPTH_PRO["tiny"])
    name = module.push_to_hub("owner/drawings", CARD)
    assert name == "hf://owner/drawings"
    found = LayerIndexModule.from_pretrained(name)
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in found.state_dict().items())
    assert found.shipped is not None
    assert found.shipped.card["data"] == "Two drawings."
