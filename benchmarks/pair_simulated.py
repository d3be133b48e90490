"""Depth and cameras on held-out simulated scenes: weights of the repository next to baselines.

    python cli.py prepare scenes-sample --out data/scenes
    python benchmarks/pair_simulated.py --out benchmarks/results/pair_simulated_cpu.json

With --checkpoint it measures a training checkpoint instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from formats.atomic import write_json
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from prepare.depth_measures import measure


def main() -> None:
    """Parse the arguments, measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/scenes"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--image_size", type=int, default=112)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.checkpoint:
        module = PairDepthCameraModule.load_from_checkpoint(args.checkpoint, map_location="cpu")
    else:
        module = PairDepthCameraModule.from_pretrained("depth_simulated")
    result = measure(args.data, module, args.image_size, args.split)
    write_json(args.out, result)
    for name, values in result.items():
        print(f"{name}: {values}")


if __name__ == "__main__":
    main()
