"""Sizes of networks are checked before memory is taken for them."""

from typing import Any

import pytest

from formats.errors import InputError
from networks import depth_pro, lightning_dit, vggt
from networks.config import config_from
from networks.depth_pro.config import DepthProConfig
from networks.lightning_dit import LightningDiTConfig
from networks.region_order import RegionOrderConfig
from networks.vggt.config import VGGTConfig


def test_all_presets_can_be_built() -> None:
    presets = [*lightning_dit.PRESETS.values(), *vggt.PRESETS.values(), *depth_pro.PRESETS.values()]
    for config in [*presets, RegionOrderConfig(), LightningDiTConfig(num_classes=1000)]:
        assert config_from(type(config), vars(config)) == config


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (LightningDiTConfig, {"hidden_size": 10**7}),
        (LightningDiTConfig, {"hidden_size": 0}),
        (LightningDiTConfig, {"hidden_size": -4, "num_heads": 1}),
        (LightningDiTConfig, {"hidden_size": 2**16}),
        (LightningDiTConfig, {"depth": 10**7}),
        (LightningDiTConfig, {"depth": 0}),
        (LightningDiTConfig, {"num_heads": 0}),
        (LightningDiTConfig, {"num_classes": 10**9}),
        (LightningDiTConfig, {"input_size": 2**16}),
        (LightningDiTConfig, {"mlp_ratio": 1e9}),
        (LightningDiTConfig, {"mlp_ratio": float("nan")}),
        (LightningDiTConfig, {"hidden_size": "1152"}),
        (LightningDiTConfig, {"hidden_size": 1152.0}),
        (LightningDiTConfig, {"hidden_size": True}),
        (LightningDiTConfig, {"use_rope": 1}),
        (LightningDiTConfig, {"hidden_size": [1152]}),
        (LightningDiTConfig, {"colour": 1}),
        (VGGTConfig, {"embed_dim": 10**6}),
        (VGGTConfig, {"dpt_out_channels": (10**6,) * 4}),
        (VGGTConfig, {"dpt_layers": (0, 1, 2)}),
        (VGGTConfig, {"camera_depth": 10**6}),
        (VGGTConfig, {"vit": 3}),
        (DepthProConfig, {"window": 10**6 - 10**6 % 16}),
        (DepthProConfig, {"encoder_dims": (10**6,) * 4}),
        (RegionOrderConfig, {"width": 10**6}),
        (RegionOrderConfig, {"width": 0}),
    ],
)
def test_sizes_out_of_range_are_named(kind: type[Any], settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^--model\.network"):
        config_from(kind, settings)
