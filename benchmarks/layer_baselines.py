"""Order of layers by the weights of the repository, by simple rules and by the region-pair model on adjacent pairs.

python -m benchmarks.layer_baselines --held_out data/region_order/clipart --others data/icons data/stamps \
    --out benchmarks/results/layer_baselines.json

The folders hold layered art, for example of ``prepare layers``. All methods order the same regions; the true order of
these regions is the best that an order of them can reach. The region-pair model is part of the weights: it was fitted
to the same clip-art. Of ``--held_out`` the test split of configs/region_order.yaml is measured, of others everything.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from datamodules.layered_art_dataset import SplitName
from formats.atomic import write_json
from lightning_modules.region_order import RegionOrderModule
from prepare.region_order_measures import measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held_out", type=Path, nargs="*", default=[], help="layered art, its test split")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="layered art that is measured as a whole")
    parser.add_argument("--limit", type=int, help="largest number of images per folder, chosen by a hash")
    parser.add_argument("--weights", default="region_order", help="weights from the repository")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    module = RegionOrderModule(weights=arguments.weights).eval()
    module.use_shipped_weights()
    results: dict[str, object] = {"device": f"{platform.machine()} CPU, 1 thread"}
    for folder in (*arguments.held_out, *arguments.others):
        split: SplitName | None = "test" if folder in arguments.held_out else None
        results[folder.name] = measure(folder, module, split, limit=arguments.limit)
        print(folder.name, json.dumps(results[folder.name], indent=2), flush=True)
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    main()
