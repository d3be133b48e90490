"""Trilight in a notebook or a program: the classes of the three tasks under one name.

Each name is imported when it is first used, so that ``import trilight`` itself takes no time.

Example::

    import trilight

    module = trilight.UserConditionedDiTModule.load_from_checkpoint("last.ckpt")
    data = trilight.LatentDataModule("data/microdoppler_latents")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.aerial_megadepth import AerialMegaDepthDataModule as AerialMegaDepthDataModule
    from datamodules.illustration_folder import IllustrationFolderDataModule as IllustrationFolderDataModule
    from datamodules.latents import LatentDataModule as LatentDataModule
    from datamodules.layered_art import LayeredArtDataModule as LayeredArtDataModule
    from datamodules.pair_folder import PairFolderDataModule as PairFolderDataModule
    from datamodules.region_graphs import RegionGraphDataModule as RegionGraphDataModule
    from datamodules.sample_requests import SampleRequestDataModule as SampleRequestDataModule
    from datamodules.spectrograms import SpectrogramDataModule as SpectrogramDataModule
    from lightning_modules.latent_extraction import LatentExtractionModule as LatentExtractionModule
    from lightning_modules.layer_index import LayerIndexModule as LayerIndexModule
    from lightning_modules.pair_depth_camera import PairDepthCameraModule as PairDepthCameraModule
    from lightning_modules.region_order import RegionOrderModule as RegionOrderModule
    from lightning_modules.user_conditioned_dit import UserConditionedDiTModule as UserConditionedDiTModule
    from networks.checkpoints import load_published as load_published
    from networks.checkpoints import to_published as to_published
    from networks.tokenizers import VAVAE as VAVAE
    from networks.tokenizers import DiffusersKL as DiffusersKL
    from networks.tokenizers import LappedPCA as LappedPCA
    from networks.tokenizers import load_tokenizer as load_tokenizer

_MODULES = {
    "datamodules.aerial_megadepth": ["AerialMegaDepthDataModule"],
    "datamodules.illustration_folder": ["IllustrationFolderDataModule"],
    "datamodules.latents": ["LatentDataModule"],
    "datamodules.layered_art": ["LayeredArtDataModule"],
    "datamodules.pair_folder": ["PairFolderDataModule"],
    "datamodules.region_graphs": ["RegionGraphDataModule"],
    "datamodules.sample_requests": ["SampleRequestDataModule"],
    "datamodules.spectrograms": ["SpectrogramDataModule"],
    "lightning_modules.latent_extraction": ["LatentExtractionModule"],
    "lightning_modules.layer_index": ["LayerIndexModule"],
    "lightning_modules.pair_depth_camera": ["PairDepthCameraModule"],
    "lightning_modules.region_order": ["RegionOrderModule"],
    "lightning_modules.user_conditioned_dit": ["UserConditionedDiTModule"],
    "networks.checkpoints": ["load_published", "to_published"],
    "networks.tokenizers": ["VAVAE", "DiffusersKL", "LappedPCA", "load_tokenizer"],
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("trilight")
    raise AttributeError(f"module 'trilight' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
