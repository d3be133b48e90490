"""Every task on files of a few kilobytes, for tests that train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.strategies import DDPStrategy

from command_line.trainer import Trainer
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from datamodules.latents import LatentDataModule
from datamodules.layered_art import LayeredArtDataModule
from formats.latent_shards import LatentStatistics, open_shard, write_shard
from formats.layered_art.pairs import layer_pair, write_layer_pair
from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.training_steps import TrainingSteps
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.depth_pro import DepthProConfig
from networks.lightning_dit import LightningDiTConfig
from networks.vggt import VGGTConfig
from tests.support.aerial_scene import write_scene

TinyTask = tuple[TrainingSteps, LightningDataModule]
VGGT_SIZES = {
    "vit": "tiny",
    "embed_dim": 192,
    "depth": 4,
    "num_heads": 3,
    "dpt_layers": (0, 1, 2, 3),
    "dpt_out_channels": (8, 8, 8, 8),
    "dpt_features": 8,
    "camera_depth": 1,
    "camera_num_heads": 6,
    "init_values": 0.1,
}


def write_latents(folder: Path, train: int = 12) -> Path:
    """Write latents (8, 4, 4) of three users with their statistics."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", train), ("val", 6)):
        latents = torch.randn(count, 8, 4, 4, generator=generator)
        write_shard(folder / f"{split}.safetensors", latents, torch.arange(count) % 3)
    LatentStatistics.measure([open_shard(folder / "train.safetensors")]).write(folder / "latents_stats.pt")
    return folder


def write_art(folder: Path, count: int = 24, side: int = 128) -> Path:
    """Write images of two overlapping rectangles with their paint orders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image, orders = np.full((side, side, 3), 255, np.uint8), np.zeros((side, side), np.uint16)
        for order in (1, 2):
            top, left = rng.integers(0, side // 2, 2)
            image[top : top + side // 2, left : left + side // 2] = rng.integers(0, 255, 3)
            orders[top : top + side // 2, left : left + side // 2] = order
        if len(np.unique(orders)) == 3:
            write_layer_pair(layer_pair(folder, "shapes", f"{number:02d}"), image, orders)
    return folder


def microdoppler(folder: Path, batch_size: int = 4, **settings: Any) -> TinyTask:
    """Return module and data of the micro-Doppler task."""
    data = LatentDataModule(str(write_latents(folder / "latents")), batch_size=batch_size)
    network = LightningDiTConfig(input_size=4, in_channels=8, hidden_size=32, depth=2, num_heads=2, num_classes=3)
    return UserConditionedDiTModule(network, **{"learning_rate": 1e-3, **settings}), data


def pair(folder: Path, batch_size: int = 2, **settings: Any) -> TinyTask:
    """Return module and data of the pair task."""
    root = write_scene(folder / "pairs")
    data = AerialMegaDepthDataModule(
        str(root), str(root / "seg"), batch_size=batch_size, image_size=56, aspect=0.75, num_workers=0
    )
    settings = {"learning_rate": 1e-3, "warmup_ratio": 0.0, **settings}
    return PairDepthCameraModule(VGGTConfig(**VGGT_SIZES), **settings), data  # type: ignore[arg-type]


def layers(folder: Path, batch_size: int = 2, **settings: Any) -> TinyTask:
    """Return module and data of the layer task."""
    root = write_art(folder / "art")
    data = LayeredArtDataModule(
        str(root), batch_size=batch_size, image_size=128, val_share=0.2, test_share=0.2, num_workers=0
    )
    network = DepthProConfig("vit_small_patch14_dinov2", 32, 2, 2, (0, 1), (8, 8, 8, 8), 8, 32, 1.0)
    rates: dict[str, Any] = {"encoder_learning_rate": 1e-3, "decoder_learning_rate": 1e-3}
    if "learning_rate" in settings:
        rates = dict.fromkeys(rates, settings.pop("learning_rate"))
    return LayerIndexModule(network, **rates, **settings), data


TASKS: dict[str, Callable[..., TinyTask]] = {"microdoppler": microdoppler, "pair": pair, "layers": layers}


def tiny_trainer(num_processes: int = 1, **settings: Any) -> Trainer:
    """Return a trainer on the CPU that writes nothing; several processes are forks of this one."""
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo") if num_processes > 1 else "auto"
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "report": False,
    }
    return Trainer(
        accelerator="cpu",
        devices=num_processes,
        strategy=strategy,
        precision="32-true",
        **{**quiet, "limit_val_batches": 0, "max_epochs": 1, **settings},
    )
