"""Solvers of few evaluations on a trained generator, compared with 1000 steps of Euler's method.

python cli.py prepare microdoppler-sample --out data/microdoppler
python -m benchmarks sampling --data_dir data/microdoppler --json benchmarks/results/sampling_cpu.json

The distance of a solver is the mean squared difference of its latents to those of the same noise, in units of the
latents' variance. It is given to Euler's method with 1000 evaluations and to an almost exact solution (multistep with
400). Its mean over samples hangs on those few whose noise lies near the border between two Gaussians of the mixture,
where the smallest error decides for another image; the median does not. Fréchet distances are between features of a
classifier trained on real spectrograms.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.atomic import write_json
from formats.images import write_png
from lightning_modules.classifier_training import fit_classifier
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from metrics.generation import FrechetDistance
from networks.spectrogram_classifier import SpectrogramClassifier, shrink
from networks.tokenizers import to_uint8
from networks.transport import Velocity, sample, seeded_noise
from networks.transport.guidance import GuidedVelocity
from prepare.trained_module import load_trained

Run = Callable[[Velocity, Tensor, list[float]], Tensor]


class Counter:
    """Velocity of a generator that counts its evaluations and the samples its network is evaluated for."""

    def __init__(self, velocity: Velocity) -> None:
        self.velocity, self.evaluations = velocity, 0

    def __call__(self, t: float, x: Tensor) -> Tensor:
        """Compute the velocity at time t."""
        self.evaluations += 1
        return self.velocity(t, x)


class ReusedGuidance(GuidedVelocity):
    """Guidance whose difference between the two halves is computed at every second evaluation only."""

    calls = 0
    difference: Tensor

    def __call__(self, t: float, x: Tensor) -> Tensor:
        """Compute the velocity at time t."""
        plain = GuidedVelocity(self.network, self.labels, None)
        if not self._acts(t):
            return plain(t, x)
        self.calls += 1
        if self.calls % 2:
            guided = super().__call__(t, x)
            conditional = plain(t, x)  # a real implementation takes it from the guided evaluation
            self.difference = guided - conditional
            return guided
        return plain(t, x) + self.difference


def scheduler_run(kind: type, num_steps: int, shift: float) -> Run:
    """Return a sampler by a scheduler of diffusers, whose sigma is 1 − t."""

    def run(velocity: Velocity, noise: Tensor, breaks: list[float]) -> Tensor:
        options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1 / shift}
        scheduler: Any = kind(num_train_timesteps=1000, solver_order=2, **options)
        scheduler.set_timesteps(num_steps)
        x = noise
        for position, step in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[position])
            x = scheduler.step(-velocity(1 - sigma, x), step, x).prev_sample
        return x

    return run


def own_run(method: Any, num_steps: int, shift: float) -> Run:
    return lambda velocity, noise, breaks: sample(velocity, noise, method, num_steps, shift, breaks)


def runs() -> dict[str, Run]:
    """Return what is compared; the first is the yardstick."""
    found = {"euler 250, shift 0.3": own_run("euler", 250, 0.3)}
    for count in (49, 25, 10):
        found[f"euler {count}, shift 0.3"] = own_run("euler", count, 0.3)
    for count in (25, 10):
        found[f"heun {count}, shift 0.3"] = own_run("heun", count, 0.3)
        for name, kind in (("UniPC", UniPCMultistepScheduler), ("DPM-Solver++", DPMSolverMultistepScheduler)):
            for shift in (0.3, 0.5):
                found[f"{name} {count}, shift {shift}"] = scheduler_run(kind, count, shift)
    for count in (25, 16, 10):
        found[f"multistep {count}"] = own_run("multistep", count, 0.0)
    return found


class Judge:
    """Classifier trained on real spectrograms, and the features of the validation images.

    Args:
        data_dir: Folder with train/ID_<n>/*.png and val/ID_<n>/*.png.
    """

    def __init__(self, data_dir: Path) -> None:
        parts = {}
        for split in ("train", "val"):
            files = find_spectrograms(data_dir, split)
            batch = SpectrogramDataset(files).__getitems__(list(range(len(files))))
            parts[split] = shrink(batch["images"]), batch["user_ids"].unique(return_inverse=True)[1]
        images, users = parts["train"]
        self.classifier: SpectrogramClassifier = fit_classifier(images, users, int(users.max()) + 1)
        self.real = self.classifier.features(parts["val"][0])

    def frechet(self, images: Tensor, others: Tensor | None = None) -> float:
        """Return the Fréchet distance of images (N, 3, H, W) uint8 to other images, or to real ones."""
        metric = FrechetDistance(self.classifier.num_features)
        metric.update(self.real if others is None else self.classifier.features(shrink(others)), True)
        metric.update(self.classifier.features(shrink(images)), False)
        return float(metric.compute())


def distances(latents: Tensor, others: Tensor) -> dict[str, float]:
    each = (latents - others).square().flatten(1).mean(1)
    return {"mean": float(each.mean()), "median": float(each.median()), "largest": float(each.max())}


def compare(
    module: UserConditionedDiTModule, judge: Judge | None, scale: float, per_user: int, sheet: Path | None
) -> Any:
    """Sample with every solver at a guidance scale."""
    module.hparams["guidance_scale"] = scale
    space = module.require_latent_space()
    users, numbers = space.user_ids.repeat_interleave(per_user), torch.arange(per_user).repeat(len(space.user_ids))
    shape = module.network_config.in_channels, *module.network_config.grid
    pairs = list(zip(users.tolist(), numbers.tolist(), strict=True))
    noise = torch.stack([seeded_noise(shape, 0, user, number) for user, number in pairs])
    field, breaks = module.velocity(space.classes(users))

    def images(latents: Tensor) -> Tensor:
        grain = torch.stack([seeded_noise((3, *module.tokenizer.image_size(latents)), 0, *pair, 1) for pair in pairs])
        grain_or_none = grain if module.tokenizer.uses_noise else None
        return to_uint8(module.tokenizer.decode(space.denormalise(latents), grain_or_none))

    euler, exact = (
        own_run("euler", 1000, 0.3)(field, noise, breaks),
        own_run("multistep", 400, 0.0)(field, noise, breaks),
    )
    variance, rows, shown = float(exact.var()), dict[str, Any](), dict[str, Tensor]()
    compared: dict[str, Run] = {"euler 1000, shift 0.3": lambda *_: euler, "exact": lambda *_: exact, **runs()}
    todo: dict[str, tuple[Run, Velocity]] = {name: (run, field) for name, run in compared.items()}
    if scale != 1:
        reused, _ = module.velocity(space.classes(users), ReusedGuidance)
        todo["multistep 25, guidance reused"] = compared["multistep 25"], reused
    for name, (run, velocity) in todo.items():
        counter = Counter(velocity)
        latents = run(counter, noise, breaks)
        row: dict[str, Any] = {"evaluations": counter.evaluations} if counter.evaluations else {}
        for reference, others in (("to euler 1000", euler), ("to exact", exact)):
            row[reference] = {key: value / variance for key, value in distances(latents, others).items()}
        if judge is not None:
            row["frechet to real"] = judge.frechet(images(latents))
            row["frechet to euler 1000"] = judge.frechet(images(latents), images(euler))
            row["frechet to exact"] = judge.frechet(images(latents), images(exact))
        rows[name] = row
        short = {
            key: f"{value['mean']:.2e}, median {value['median']:.2e}" for key, value in row.items() if key[:3] == "to "
        }
        print(f"scale {scale:g}, {name}: {short} {[round(row[key], 3) for key in row if key[:3] == 'fre']}", flush=True)
        shown[name] = latents
    if sheet is not None:
        chosen = ("exact", "euler 250, shift 0.3", "multistep 25", "multistep 10")
        grid = {name: list(images(shown[name]).permute(0, 2, 3, 1).numpy()[::per_user]) for name in chosen}
        write_png(sheet, spectrogram_sheet(grid, space.axes, height=192))
    return {"breaks": breaks, "variance of latents": variance, "solvers": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="training checkpoint; by default the weights of the repository")
    parser.add_argument("--data_dir", type=Path, help="real spectrograms, for Fréchet distances")
    parser.add_argument("--per_user", type=int, default=8, help="samples of each user")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 4.0], help="guidance scales")
    parser.add_argument("--sheet", type=Path, help="folder for images of samples")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    if arguments.checkpoint:
        module = load_trained(UserConditionedDiTModule, arguments.checkpoint)
    else:
        module = UserConditionedDiTModule()
        module.use_shipped("spectrograms_simulated")
    module.eval()
    files = {"--out", str(arguments.out), "--sheet", str(arguments.sheet)}
    words = [word for word in sys.argv[1:] if word not in files]
    results: dict[str, Any] = {
        "device": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "command": " ".join(["python -m benchmarks sampling", *words]),
        "torch": torch.__version__,
        "generator": str(arguments.checkpoint or "spectrograms_simulated"),
        "samples": arguments.per_user * len(module.require_latent_space().user_ids),
    }
    with torch.no_grad():
        judge = Judge(arguments.data_dir) if arguments.data_dir else None
        for scale in arguments.scales:
            sheet = arguments.sheet / f"sampling_scale_{scale:g}.png" if arguments.sheet else None
            results[f"guidance scale {scale:g}"] = compare(module, judge, scale, arguments.per_user, sheet)
            if arguments.out:
                write_json(arguments.out, results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
