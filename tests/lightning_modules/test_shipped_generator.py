"""A generator saved as weights of the repository generates the same spectrograms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from formats.errors import InputError
from formats.latent_shards import LatentStatistics
from formats.latent_space import LatentSpace
from lightning_modules.shipped_generator import MIXTURE, SAMPLING, restore_generator, save_generator
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.lightning_dit import LightningDiTConfig
from networks.shipped_weights import REQUIRED, load_shipped, save_shipped
from networks.tokenizers import LappedPCA

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
    assert code.fingerprint() == tokenizer.fingerprint() == restored.tokenizer_fingerprint
    assert restored.differences(space) == ["tokenizer"]  # the space above did not name one


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_shipped("other", {"weight": torch.zeros(2)}, CARD, tmp_path)
    with pytest.raises(InputError, match="are not of a spectrogram generator"):
        restore_generator(load_shipped("other", tmp_path))
