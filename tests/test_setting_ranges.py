"""Settings out of range are refused by name, in every class of the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from callbacks.latent_writer import LatentShardWriter
from callbacks.layer_images import LayerImages
from callbacks.layer_writer import LayerWriter
from callbacks.pair_images import PairImages
from callbacks.pair_writer import PairWriter
from callbacks.sample_grid import SampleGrid
from callbacks.sample_writer import SampleWriter
from callbacks.step_seed import StepSeed
from command_line.trainer import Trainer
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from datamodules.illustration_folder import IllustrationFolderDataModule
from datamodules.latents import LatentDataModule
from datamodules.layered_art import LayeredArtDataModule
from datamodules.pair_folder import PairFolderDataModule
from datamodules.region_graphs import RegionGraphDataModule
from datamodules.sample_requests import SampleRequestDataModule
from datamodules.spectrograms import SpectrogramDataModule
from formats.errors import InputError
from lightning_modules.latent_extraction import LatentExtractionModule
from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.region_order import RegionOrderModule
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from losses.pair_objective import PairLoss
from losses.scale_invariant import ScaleInvariantLoss
from networks.config import config_from
from networks.depth_pro import DepthProConfig
from networks.lightning_dit import LightningDiTConfig
from networks.region_order import RegionOrderConfig
from networks.vggt import VGGTConfig

NEGATIVE, NOT_FINITE = (-1, -1e-9), (math.nan, math.inf)
BAD_RATE = (-1.0, *NOT_FINITE)
BAD_SHARE = (-0.1, 1.1, math.nan)
BAD_BETAS = ((-0.1, 0.9), (0.9, 1.0), (0.9, math.nan))

WRONG: list[tuple[Callable[..., Any], dict[str, tuple[Any, ...]]]] = [
    (
        UserConditionedDiTModule,
        {
            "learning_rate": BAD_RATE,
            "final_learning_rate_ratio": BAD_SHARE,
            "warmup_steps": (-5,),
            "betas": BAD_BETAS,
            "weight_decay": BAD_RATE,
            "time_logit_mean": NOT_FINITE,
            "time_logit_deviation": (0.0, -1.0, *NOT_FINITE),
            "direction_loss_weight": BAD_RATE,
            "noise_seed": (-1,),
            "num_steps": (0, -3),
            "time_shift": BAD_RATE,
            "guidance_scale": BAD_RATE,
            "guidance_interval_start": BAD_SHARE,
            "guidance_interval_end": BAD_SHARE,
            "guided_channels": (0, -3),
            "sample_seed": (-1,),
            "zero_doppler_row": BAD_SHARE,
        },
    ),
    (
        LayerIndexModule,
        {
            "encoder_learning_rate": BAD_RATE,
            "decoder_learning_rate": BAD_RATE,
            "weight_decay": BAD_RATE,
            "betas": BAD_BETAS,
            "warmup_steps": (-5,),
            "final_learning_rate_ratio": BAD_SHARE,
            "edge_weight": BAD_RATE,
            "window_chunk_size": (0, -1),
        },
    ),
    (
        PairDepthCameraModule,
        {
            "learning_rate": BAD_RATE,
            "weight_decay": BAD_RATE,
            "betas": BAD_BETAS,
            "warmup_ratio": BAD_SHARE,
            "final_learning_rate_ratio": BAD_SHARE,
            "clip_norm": BAD_RATE,
            "camera_weight": BAD_RATE,
            "depth_weight": BAD_RATE,
            "point_weight": BAD_RATE,
            "gamma": BAD_RATE,
            "alpha": BAD_RATE,
            "valid_range": (0.0, -1.0, 1.5, math.nan),
            "frames_chunk_size": (0, -1),
        },
    ),
    (
        RegionOrderModule,
        {
            **dict.fromkeys(("learning_rate", "weight_decay", "area_power", "noise"), BAD_RATE),
            **dict.fromkeys(("background_weight", "contact_weight"), BAD_RATE),
            "warmup_steps": (-5,),
        },
    ),
    (LatentExtractionModule, {"seed": (-1,)}),
    (
        LatentDataModule,
        {
            "batch_size": (0, -1),
            "multiplier": (0.0, -1.0, *NOT_FINITE),
            "samples_per_user": (1, -1),
            "num_workers": (-1,),
            "seed": (-1,),
        },
    ),
    (
        SpectrogramDataModule,
        {"splits": ((),), "batch_size": (0,), "shard_size": (0,), "image_size": (0, -64), "num_workers": (-1,)},
    ),
    (
        AerialMegaDepthDataModule,
        {
            "batch_size": (0,),
            "image_size": (0, 15, -14),
            "aspect": (0.0, -1.0, *NOT_FINITE),
            "views": (1,),
            "max_depth": (0.0, *NOT_FINITE),
            "depth_percentile": (0.0, 101.0, math.nan),
            "scale_augmentation": (-0.1, 1.0, math.nan),
            "colour_augmentation": BAD_SHARE,
            "aspect_augmentation": BAD_RATE,
            "num_workers": (-1,),
            "seed": (-1,),
        },
    ),
    (
        LayeredArtDataModule,
        {
            "categories": ([],),
            "limit": (0,),
            "val_limit": (0,),
            "image_size": (0,),
            "batch_size": (0,),
            "val_share": BAD_SHARE,
            "test_share": (-0.1, 1.0, math.nan),
            "split_seed": (-1,),
            "crop_augmentation": (-0.1, 1.0, math.nan),
            "colour_augmentation": BAD_SHARE,
            "num_workers": (-1,),
            "seed": (-1,),
        },
    ),
    (
        RegionGraphDataModule,
        {"batch_size": (0,), "val_share": (0.0, 1.0, math.nan), "test_share": (-0.1, 1.0, math.nan), "seed": (-1,)},
    ),
    (StepSeed, {"seed": (-1,)}),
    (SampleGrid, {"every_n_epochs": (0,), "samples_per_user": (0,)}),
    (LayerImages, {"every_n_epochs": (0,), "num_images": (0,)}),
    (PairImages, {"every_n_epochs": (0,)}),
    (PairWriter, {"confidence_quantile": (-0.1, 1.0, math.nan), "max_points": (0,)}),
    (
        LayerWriter,
        {"max_layers": (0,), "relief_width_mm": (0.0, *NOT_FINITE), "relief_height_mm": (-1.0,), "num_threads": (0,)},
    ),
    (SampleWriter, {"grid_columns": (0,), "num_threads": (0,)}),
    (LatentShardWriter, {"latent_channels": (4, -1), "num_threads": (0,)}),
    (Trainer, {"on_nonfinite": ("ignore",)}),
]
NETWORKS: dict[type, dict[str, tuple[Any, ...]]] = {
    LightningDiTConfig: {
        **dict.fromkeys(("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads"), (0, -1)),
        "mlp_ratio": (0.0, -1.0, *NOT_FINITE, 1e-9),
        "num_classes": (0, -1),
        "class_dropout_prob": (2, -0.1, math.nan),
    },
    VGGTConfig: {
        **dict.fromkeys(("embed_dim", "depth", "num_heads", "dpt_features", "camera_depth"), (0, -1)),
        "camera_num_heads": (0, -1),
        "dpt_layers": ((0, 0, 1, 2), (0, 1, 2, 99), (-1, 0, 1, 2)),
        "dpt_out_channels": ((0, 8, 8, 8), (-4, 8, 8, 8)),
        "init_values": NOT_FINITE,
    },
    DepthProConfig: {
        **dict.fromkeys(("embed_dim", "depth", "num_heads", "decoder_features", "window"), (0, -1)),
        "hook_blocks": ((0, 0), (-1, 2), (3, 99)),
        "encoder_dims": ((0, 8, 8, 8),),
        "init_values": NOT_FINITE,
    },
    RegionOrderConfig: {
        **dict.fromkeys(("region_features", "pair_features", "width", "depth", "num_heads"), (0, -1)),
        "dropout": (-0.1, 1.0, math.nan),
    },
}
LOSSES: list[tuple[Callable[..., Any], dict[str, tuple[Any, ...]]]] = [
    (
        PairLoss,
        {
            **dict.fromkeys(("camera_weight", "camera_decay", "depth_weight", "point_weight"), BAD_RATE),
            **dict.fromkeys(("gamma", "alpha"), BAD_RATE),
            "valid_range": (0.0, 1.5),
        },
    ),
    (ScaleInvariantLoss, {"edge_weight": BAD_RATE, "eps": (0.0, *NOT_FINITE)}),
]


def cases(table: Any) -> list[Any]:
    return [
        pytest.param(owner, name, value, id=f"{owner.__name__}.{name}={value}")
        for owner, settings in table
        for name, values in settings.items()
        for value in values
    ]


@pytest.mark.parametrize(("owner", "name", "value"), cases(WRONG))
def test_settings_out_of_range_are_refused_by_name(owner: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^\S*{name}: "):
        owner(**{name: value})


@pytest.mark.parametrize(("owner", "name", "value"), cases(NETWORKS.items()))
def test_sizes_of_networks_are_refused_by_name(owner: type, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^--model\.network[.: ].*\b{name}\b|^--model\.network: sizes"):
        config_from(owner, {name: value})


@pytest.mark.parametrize(("owner", "name", "value"), cases(LOSSES))
def test_losses_refuse_their_settings(owner: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        owner(**{name: value})


@pytest.mark.parametrize(
    ("owner", "settings"),
    [
        (IllustrationFolderDataModule, {"num_layers": 0}),
        (IllustrationFolderDataModule, {"svg_size": 15}),
        (IllustrationFolderDataModule, {"num_workers": -1}),
        (PairFolderDataModule, {"image_size": 13}),
        (PairFolderDataModule, {"views": 0}),
        (PairFolderDataModule, {"aspect": math.inf}),
        (PairFolderDataModule, {"num_workers": -1}),
    ],
)
def test_folders_of_images_check_their_settings(owner: Callable[..., Any], settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        owner(images="images", **settings)


@pytest.mark.parametrize("settings", [{"user_ids": []}, {"samples_per_user": 0}, {"batch_size": 0}])
def test_requests_for_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="requests nothing"):
        SampleRequestDataModule(**settings)
