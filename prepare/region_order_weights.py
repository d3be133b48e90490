"""Train, measure and save the weights of the repository that order the colour regions of illustrations."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

import configs
from datamodules.layered_art_dataset import SplitName
from datamodules.region_graphs import split_files
from formats.atomic import write_json, write_text
from formats.errors import InputError, check_settings
from lightning_modules.region_order import PAIR_MODEL, RegionOrderModule, prefixed
from networks.config import config_from
from networks.region_order import RegionOrderConfig
from networks.shipped_weights import save_shipped
from prepare.job_report import write_job_report
from prepare.pipeline import Job, Stage, run_training
from prepare.region_order_measures import MEASURES, OURS, measure
from weights import FOLDER

NAME = "region_order"
OPENCLIPART = Path("/usr/share/openclipart/svg")  # of the Debian package openclipart-svg
CONFIG = configs.FOLDER / "region_order.yaml"
SIZE = 384
# Bars on held-out clip-art.
BARS = {"without_background": 0.74, "all_pairs": 0.90, "at_outlines": 0.75, "boundary_f1": 0.75}
MARGIN = 0.03  # by which the order without the background has to exceed that of the region-pair model

LIMITS = (
    "Trained on clip-art: on drawings of other origin the order is about as good as that of the region-pair model. "
    "Touching regions of one colour are one region. Photographs and textures give meaningless regions."
)


def region_order(
    output_dir: Path = Path("runs/region_order_weights"),
    data_dir: Path = Path("data/region_order"),
    svg_dir: Path = OPENCLIPART,
    weights_dir: Path = FOLDER,
    num_drawings: int = 2000,
    num_simulated: int = 40,
    num_seeds: int = 2,
    max_epochs: int | None = None,
    max_images: int | None = None,
    other_sets: list[Path] | None = None,
    num_workers: int = 1,
) -> None:
    """Convert clip-art, measure its colour regions, train networks that order them, and save the weights.

    Repeated after a failure, it continues where it stopped, and within training from the last checkpoint. The
    region-pair model, which is also the baseline, needs scikit-learn: pip install 'trilight[weights]'.

    Args:
        output_dir: Folder for the training runs and the measures.
        data_dir: Folder for the converted drawings and the measurements of their regions.
        svg_dir: Folder of SVG files; by default that of the Debian package openclipart-svg.
        weights_dir: Folder for the weights.
        num_drawings: Largest number of drawings, chosen by a hash of their names.
        num_simulated: Number of simulated illustrations that are added to the training data.
        num_seeds: Number of networks, whose heights are averaged with those of the region-pair model; the spread of the
            single networks is on the card.
        max_epochs: Epochs of training; by default as in configs/region_order.yaml.
        max_images: Largest number of images of each set that are measured, chosen by a hash; None takes all.
        other_sets: Folders of layered art of other origin, which are measured and used for nothing else.
        num_workers: Processes that convert and measure drawings.

    Raises:
        InputError: The folder of SVG files is missing, a setting is out of range, or a stage fails.
    """
    check_settings({"--num_seeds": ("1 or more", num_seeds >= 1), "--num_simulated": ("1 or more", num_simulated >= 1)})
    if not svg_dir.is_dir():
        remedy = "Install the Debian package openclipart-svg, or name a folder of SVG files with --svg_dir."
        raise InputError(svg_dir, "no such folder", remedy)
    job = Job(output_dir)
    graphs = _prepare(job, svg_dir, data_dir, num_drawings, num_simulated, num_workers)
    shares = _shares()
    pair_model = output_dir / "pair_model.safetensors"
    words = [f"--data_dir={json.dumps([str(path) for path in graphs])}", f"--out={pair_model}"]
    words += [f"--val_share={shares[0]}", f"--test_share={shares[1]}"]
    job.run(Stage("pair model", ("prepare", "region-pair-model", *words)))
    checkpoints = [_train(job, graphs, seed, max_epochs) for seed in range(num_seeds)]

    tensors, network = joined(checkpoints, pair_model)
    module = RegionOrderModule(config_from(RegionOrderConfig, network)).eval()
    module.use_parts(tensors, str(output_dir))
    sets: list[tuple[Path, SplitName | None]] = [
        (data_dir / "clipart", "test"),
        *((path, None) for path in other_sets or []),
    ]
    measures: dict[str, Any] = {}
    for folder, split in sets:
        measures[folder.name] = measure(folder, module, split, shares, max_images)
        print(f"{folder.name}: {measures[folder.name][OURS]}", flush=True)
        write_json(output_dir / "measures.json", measures)
    minutes = {name: seconds / 60 for name, seconds in job.seconds.items()}
    counts = {split: len(split_files([str(graphs[0])], split, *shares)) for split in ("train", "val")}
    counts["simulated"] = num_simulated
    path = save_shipped(NAME, tensors, card_of(measures, network, minutes, counts), weights_dir)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB), and {output_dir / 'measures.json'}")
    write_job_report(output_dir, job.seconds)


def _prepare(
    job: Job, svg_dir: Path, data_dir: Path, num_drawings: int, num_simulated: int, num_workers: int
) -> list[Path]:
    """Convert and simulate drawings, and return the folders of their region graphs."""
    workers = f"--num_workers={num_workers}"
    options = [f"--size={SIZE}", "--min_alpha=0.2", "--min_layers=2", "--drop_near_duplicates=true", workers]
    clipart, simulated = data_dir / "clipart", data_dir / "simulated"
    job.run(Stage("convert", ("prepare", "layers", f"--svg_dir={svg_dir}", f"--out={clipart}", *options)))
    options = [f"--num_images={num_simulated}", f"--size={SIZE}"]
    job.run(Stage("simulate", ("prepare", "illustrations-sample", f"--out={simulated}", *options)))
    folders = []
    for source in (clipart, simulated):
        folders.append(data_dir / f"{source.name}_regions")
        words = ["prepare", "region-graphs", f"--data_dir={source}", f"--out={folders[-1]}", workers]
        words += [f"--limit={num_drawings}"] if source is clipart else []
        job.run(Stage(f"measure {source.name}", tuple(words)))
    return folders


def _shares() -> tuple[float, float]:
    """Return the shares of the images for validation and test."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["data"]["init_args"]
    return settings["val_share"], settings["test_share"]


def _train(job: Job, graphs: list[Path], seed: int, max_epochs: int | None) -> Path:
    """Train a network, and return the checkpoint of the best validation order."""
    name = f"training_{seed}"
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(job.output_dir), "name": name}}
    run_folder = job.output_dir / f"run_folder_{seed}.yaml"
    if not run_folder.is_file():
        write_text(run_folder, yaml.safe_dump({"trainer": {"logger": [logger]}}))
    words = ["fit", f"--config={CONFIG}", f"--config={run_folder}"]
    words += [f"--data.data_dir={json.dumps([str(path) for path in graphs])}", f"--data.val_data_dir={graphs[0]}"]
    words += [f"--seed_everything={seed}", f"--data.seed={seed}"]
    words += [f"--trainer.max_epochs={max_epochs}"] if max_epochs else []
    runs = job.output_dir / name
    run_training(job, Stage(f"train {seed}", tuple(words)), runs)
    best = sorted(runs.glob("version_*/checkpoints/best*.ckpt"), key=lambda path: path.stat().st_mtime)
    if not best:
        raise InputError(runs, "holds no checkpoint", "Remove the folder and run the command again.")
    return best[-1]


def joined(checkpoints: list[Path], pair_model: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Join networks and the baseline to the tensors of the weights, and return the networks' settings too."""
    tensors = {f"{PAIR_MODEL}.{name}": value for name, value in load_file(pair_model).items()}
    network: dict[str, Any] = {}
    for number, path in enumerate(checkpoints):
        content = torch.load(path, map_location="cpu", weights_only=True)
        network = dict(content["hyper_parameters"]["network"])
        state = prefixed(content["state_dict"], "network.")
        tensors |= {f"networks.{number}.{name}": value for name, value in state.items()}
    return tensors, network


def spread(measures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the difference between the highest and the lowest value of a single network, by measure."""
    seeds = [values for name, values in measures.items() if name.startswith("seed ")]
    return {name: round(max(v[name] for v in seeds) - min(v[name] for v in seeds), 3) for name in MEASURES}


def judged(measures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Say of each bar which value is reached; the first set is held-out clip-art, the others are of other origin."""
    (_, held_out), *others = measures.items()
    bars = {
        f"clip-art, {name}": {"value": held_out[OURS][name], "bar": bar, "met": held_out[OURS][name] >= bar}
        for name, bar in BARS.items()
    }
    for name, methods in others:
        gain = round(methods[OURS]["without_background"] - methods[PAIR_MODEL]["without_background"], 3)
        bars[f"{name}, above the region-pair model"] = {"value": gain, "bar": MARGIN, "met": gain >= MARGIN}
    return bars


def card_of(
    measures: Mapping[str, Mapping[str, Mapping[str, float]]],
    network: Mapping[str, Any],
    minutes: Mapping[str, float],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the card of the weights."""
    held_out = next(iter(measures.values()))
    return {
        "summary": f"order of colour regions by networks and a pair model, from {counts['train']} clip-art images",
        "data": (
            f"{counts['train']} drawings of Debian's openclipart-svg without single-layer files and near-duplicates "
            f"(prepare layers --size {SIZE} --min_alpha 0.2 --min_layers 2 --drop_near_duplicates true), and "
            f"{counts['simulated']} of prepare illustrations-sample --size {SIZE}; {counts['val']} others validate. "
            "The region-pair model is fitted to the same drawings, 20 adjacent pairs of each. All is chosen by the "
            "validation images; the test split and sets of other origin are only measured."
        ),
        "command": f"make weights NAME={NAME}",
        "training_time": ", ".join(f"{name} {value:.0f} min" for name, value in minutes.items()) + " on the clock",
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "measures": {name: dict(methods) for name, methods in measures.items()},
        "spread_over_seeds": spread(held_out),
        "bars": judged(measures),
        "limits": LIMITS,
        "licence": "CC0 1.0 (public domain), like the drawings",
        "network": dict(network),
    }
