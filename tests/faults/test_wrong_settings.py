"""Settings that cannot be used end in one line before memory is taken for them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cli import main
from configs import FOLDER
from formats.errors import InputError
from formats.training_checkpoint import INSTANTIATOR
from tests.support.tiny_tasks import write_latents

DIT = f"--config={FOLDER / 'dit_microdoppler.yaml'}"
REGIONS = f"--config={FOLDER / 'region_order.yaml'}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([DIT, "--model.network.hidden_size=0"], r"--model\.network\.hidden_size: must be from 1"),
        ([DIT, "--model.network.hidden_size=10000000"], r"--model\.network\.hidden_size: must be from 1"),
        ([DIT, "--model.network.hidden_size=102400"], r"--model\.network: asks for about"),
        ([DIT, "--model.network.num_heads=5"], r"--model\.network: hidden_size 1152 is not a multiple"),
        ([REGIONS, "--model.network.width=0"], "sizes must be at least 1|must be from 1"),
        ([DIT, "--ckpt_path=registry"], "model registries are not supported"),
    ],
)
def test_settings_are_named(tmp_path: Path, words: list[str], message: str) -> None:
    data = [f"--data.data_dir={write_latents(tmp_path)}"] if DIT in words else []
    with pytest.raises(InputError, match=message) as caught:
        main(["fit", *words, *data])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", [{"hidden_size": 10**7}, {"depth": 10**7}, {"hidden_size": "x"}, {"colour": 1}, 3])
def test_sizes_in_a_checkpoint_are_checked(tmp_path: Path, network: Any) -> None:
    named = {"_class_path": "lightning_modules.user_conditioned_dit.UserConditionedDiTModule"}
    settings = named | {"_instantiator": INSTANTIATOR, "network": network}
    torch.save({"state_dict": {}, "hyper_parameters": settings}, tmp_path / "a.ckpt")
    with pytest.raises(InputError) as caught:
        main(["test", DIT, "--ckpt_path=a.ckpt"])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="network|settings") as caught:
        main(["prepare", "tune-guidance", "--checkpoint=a.ckpt", "--data_dir=.", "--out=a.json"])
