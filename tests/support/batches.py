"""Batches of simulated pairs."""

from __future__ import annotations

from functools import cache

import torch

from batches.pair import PairBatch
from geometry.cameras import camera_to_world, invert_extrinsics, unproject
from losses.pair_objective import normalised_targets
from simulators.scenes.pairs import TRAIN, scene_pair


@cache
def pair_batch(count: int = 3, width: int = 56, height: int = 42) -> PairBatch:
    """Return a normalised batch of simulated pairs."""
    pairs = [scene_pair(0, TRAIN, number, width, height) for number in range(count)]
    depths = torch.stack([torch.from_numpy(pair.depths) for pair in pairs])
    intrinsics = torch.stack([torch.from_numpy(pair.intrinsics) for pair in pairs]).float()
    extrinsics = invert_extrinsics(torch.stack([torch.from_numpy(pair.cam2world[:, :3]) for pair in pairs])).float()
    cam_points = unproject(depths, intrinsics)
    images = torch.stack([torch.from_numpy(pair.images) for pair in pairs]).movedim(-1, 2).float() / 255
    batch: PairBatch = {
        "images": images,
        "depths": depths,
        "extrinsics": extrinsics,
        "intrinsics": intrinsics,
        "cam_points": cam_points,
        "world_points": camera_to_world(cam_points, extrinsics),
        "point_masks": depths > 0,
        "seq_name": [str(number) for number in range(count)],
        "weights": torch.ones(count),
    }
    return normalised_targets(batch)
