"""Training, validation, test and prediction steps of each task."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.layer_index import LayerIndexModule as LayerIndexModule
    from lightning_modules.pair_depth_camera import PairDepthCameraModule as PairDepthCameraModule
    from lightning_modules.user_conditioned_dit import UserConditionedDiTModule as UserConditionedDiTModule

_PLACES = {
    "LayerIndexModule": "lightning_modules.layer_index",
    "PairDepthCameraModule": "lightning_modules.pair_depth_camera",
    "UserConditionedDiTModule": "lightning_modules.user_conditioned_dit",
}


def __getattr__(name: str) -> Any:
    """Import the module of a task on first use, since a task needs little of what the others import."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'lightning_modules' has no attribute {name!r}")
