"""A generator saved as weights of the repository generates the same spectrograms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cli import main
from formats.errors import InputError
from formats.images import read_rgb
from formats.latent_shards import LatentStatistics
from formats.latent_space import LatentSpace
from lightning_modules.shipped_generator import MIXTURE, SAMPLING, restore_generator, save_generator
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from metrics.spectrogram_physics import MEASURES, image_levels, measure
from networks.lightning_dit import LightningDiTConfig
from networks.shipped_weights import REQUIRED, load_shipped, save_shipped
from networks.tokenizers import LappedPCA
from tests.support.commands import ROOT

CARD = dict.fromkeys(REQUIRED, "text")


@pytest.mark.slow
def test_network_tokenizer_and_latent_space_come_back(tmp_path: Path) -> None:
    config = LightningDiTConfig(
        input_size=1, input_width=4, in_channels=6, hidden_size=32, depth=1, num_heads=2, num_classes=2
    )
    module = UserConditionedDiTModule(config, mixture_components=3, mixture_rank=2, mixture_neighbours=3)
    assert module.mixture is not None
    module.mixture.fit(torch.randn(16, 6, 1, 4), torch.arange(16) % 2)
    network = module.state_dict()
    images = torch.randint(0, 256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    tokenizer = LappedPCA.fit([images], 6)
    space = LatentSpace(LatentStatistics(torch.rand(6), torch.rand(6) + 1), "dataset", 1.0, torch.tensor([1, 4]))
    card = {**CARD, "sampling": dict.fromkeys(SAMPLING, 1), "mixture": dict.fromkeys(MIXTURE, 1)}
    save_generator("small", network, config, space, tokenizer, card, tmp_path)
    found, state, restored, code = restore_generator(load_shipped("small", tmp_path))
    assert found == config
    assert all(torch.equal(state[name], value) for name, value in network.items())
    assert state.keys() == network.keys()
    assert code is not None
    assert code.fingerprint() == tokenizer.fingerprint() == restored.tokenizer_fingerprint
    assert restored.differences(space) == ["tokenizer"]  # the space above did not name one


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_shipped("other", {"weight": torch.zeros(2)}, CARD, tmp_path)
    with pytest.raises(InputError, match="are not of a spectrogram generator"):
        restore_generator(load_shipped("other", tmp_path))


def test_the_shipped_generator_draws_its_five_users(tmp_path: Path) -> None:
    config = f"--config={ROOT / 'configs' / 'generate_microdoppler.yaml'}"
    machine = ["--trainer.accelerator=cpu", "--trainer.devices=1"]
    options = ["--data.samples_per_user=1", f"--data.output_dir={tmp_path / 'samples'}"]
    main(["predict", config, "--model.shipped_weights=spectrograms_simulated", *options, *machine])
    paths = sorted((tmp_path / "samples").glob("micro_doppler_user*.png"))
    assert [path.name[18:20] for path in paths] == ["01", "02", "04", "05", "07"]
    table = measure(
        image_levels(torch.stack([torch.from_numpy(read_rgb(path).copy()).movedim(-1, 0) for path in paths]))
    )
    values = dict(zip(MEASURES, table.T, strict=True))
    assert values["border_ratio_16"].max() < 1.2
    assert values["step_rate"].tolist() == pytest.approx([4.3, 3.0, 5.7, 3.8, 4.4], rel=0.1)
    assert values["torso_speed"].tolist() == pytest.approx([0.169, 0.117, 0.215, 0.127, 0.212], rel=0.1)
