"""Make the weights of the region order: a trained network and boosted trees on pairs of regions, with their card.

python cli.py fit --config configs/region_order.yaml --trainer.max_epochs 10
python -m benchmarks.make_region_order --train data/clipart_regions --checkpoint runs/region_order/…/best.ckpt \
    --measures benchmarks/results/layer_baselines.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.layer_baselines import fit_pair_model, read_set
from networks.shipped_weights import save_shipped

CARD = {
    "summary": "order of colour regions: network and boosted trees, trained on 616 clip-art and 53 simulated drawings",
    "data": (
        "616 drawings drawn at random from the Debian package openclipart-svg 0.18, converted with prepare layers "
        "--size 384 --min_alpha 0.2, without single-layer files and near-duplicates; 53 of prepare "
        "illustrations-sample --size 384"
    ),
    "command": (
        "python cli.py fit --config configs/region_order.yaml --trainer.max_epochs 10, then "
        "python -m benchmarks.make_region_order; the checkpoint is that of the best validation order, epoch 2 of 10"
    ),
    "training_time": "about 1 minute of CPU time for the network, 72 s for the trees",
    "hardware": "1 thread of a shared 2-core x86-64 machine",
    "limits": (
        "Trained on few drawings: on sets of other origin the order without the background is hardly better than that "
        "of the region-pair model on adjacent pairs. Touching regions of one colour are one region. Photographs and "
        "textures give meaningless regions."
    ),
    "licence": "CC0 1.0 (public domain), like the drawings",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders of region graphs")
    parser.add_argument("--checkpoint", type=Path, required=True, help="training checkpoint of RegionOrderModule")
    parser.add_argument("--measures", type=Path, required=True, help="JSON file with the measures for the card")
    arguments = parser.parse_args()
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    tensors = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith("network.")}
    trees = fit_pair_model([sample for folder in arguments.train for sample in read_set(folder, "train")], distant=True)
    for name, values in asdict(trees).items():
        stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
        tensors[f"trees.{name}"] = torch.from_numpy(stored)
    measures = json.loads(arguments.measures.read_text(encoding="utf-8"))
    card = CARD | {"measures": measures, "network": checkpoint["hyper_parameters"]["network"]}
    print(save_shipped("region_order", tensors, card))


if __name__ == "__main__":
    main()
