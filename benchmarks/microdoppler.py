"""Cost of the micro-Doppler task's parts, each compared with a straightforward implementation in the same run.

python benchmarks/microdoppler.py --size tiny --out benchmarks/results/microdoppler_cpu.json
python benchmarks/microdoppler.py --size LightningDiT-XL/1 --out benchmarks/results/microdoppler_gpu.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

from datamodules.latents import LatentDataset
from formats.atomic import write_json
from formats.latent_shards import open_shard, write_shard
from losses.flow_matching import velocity_loss
from networks.lightning_dit import PRESETS, LightningDiT, LightningDiTConfig
from networks.lightning_dit.model import Attention
from networks.transport import GuidedVelocity, draw_times, linear_path, sample

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def median_seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Measure the median time of ``work`` after two warm-ups, device included."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def build(size: str) -> LightningDiT:
    if size == "tiny":
        config = LightningDiTConfig(hidden_size=256, depth=4, num_heads=8, patch_size=2, use_qknorm=True)
    else:
        config = PRESETS[size]
    network = LightningDiT(replace(config, num_classes=10))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)  # the published initial velocity is zero, which is not typical
    return network.to(DEVICE)


def training(size: str, batch_size: int) -> dict[str, float]:
    """Measure forward and backward in float32, mixed precision, with compilation, with recomputed blocks."""
    network = build(size)
    latents, classes = torch.randn(batch_size, 32, 16, 16, device=DEVICE), torch.zeros(batch_size, device=DEVICE).long()

    def step(dtype: torch.dtype | None) -> None:
        t = draw_times(batch_size, "logit_normal", DEVICE)
        point, target = linear_path(latents, torch.randn_like(latents), t)
        with torch.autocast(DEVICE.type, dtype or torch.bfloat16, enabled=dtype is not None):
            velocity = network(point, t, classes)
        velocity_loss(velocity.float(), target).mean().backward()
        network.zero_grad(set_to_none=True)

    results: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for name, dtype in (("float32", None), ("bf16-mixed", torch.bfloat16)):
        results[name] = _measured(partial(step, dtype), peaks, name)
    network.gradient_checkpointing = True
    results["bf16-mixed, recomputed"] = _measured(lambda: step(torch.bfloat16), peaks, "bf16-mixed, recomputed")
    network.gradient_checkpointing = False
    if DEVICE.type == "cuda":
        network.compile()
        results["bf16-mixed, compiled"] = _measured(lambda: step(torch.bfloat16), peaks, "bf16-mixed, compiled")
    return {f"seconds {name}": seconds for name, seconds in results.items()} | peaks


def _measured(work: Callable[[], None], peaks: dict[str, float], name: str) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = median_seconds(work)
    if DEVICE.type == "cuda":
        peaks[f"peak GiB {name}"] = torch.cuda.max_memory_allocated() / 2**30
    return seconds


def attention(size: str, batch_size: int) -> dict[str, float]:
    """Compare the network's attention with the same attention written out with a softmax."""
    block = build(size).blocks[0].get_submodule("attn")
    assert isinstance(block, Attention)
    tokens = (16 // (2 if size == "tiny" else 1)) ** 2
    x = torch.randn(batch_size, tokens, block.qkv.in_features, device=DEVICE)

    def written_out() -> Tensor:
        q, k, v = block.qkv(x).unflatten(-1, (3, block.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = block.q_norm(q), block.k_norm(k)
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        out: Tensor = block.proj((weights @ v).transpose(1, 2).flatten(-2))
        return out

    with torch.no_grad():
        torch.testing.assert_close(written_out(), block(x, None), rtol=1e-3, atol=1e-3)
        fused, plain = median_seconds(lambda: block(x, None), 30), median_seconds(written_out, 30)
    return {"seconds ours": fused, "seconds written out": plain, "ratio": plain / fused}


@torch.no_grad()
def guidance(size: str, batch_size: int) -> dict[str, float]:
    """Compare sampling on the published grid with the published code, which computes both halves everywhere."""
    network, points = build(size).eval(), 60
    noise = torch.randn(batch_size, 32, 16, 16, device=DEVICE)
    labels = torch.arange(batch_size, device=DEVICE) % 10

    def both(t: float, x: Tensor) -> Tensor:
        time_ = x.new_full((2 * len(x),), t)
        doubled = torch.cat([labels, torch.full_like(labels, network.no_label)])
        conditional, without = network(torch.cat([x, x]), time_, doubled).chunk(2)
        guided: Tensor = conditional if t < 0.125 else without + 4.0 * (conditional - without)
        return guided

    lean = GuidedVelocity(network, labels, network.no_label, 4.0, 0.125)
    ours = median_seconds(lambda: sample(lean, noise, num_steps=points - 1, shift=0.3), 3)
    published = median_seconds(lambda: sample(both, noise, num_steps=points - 1, shift=0.3), 3)
    return {"seconds ours": ours, "seconds both halves always": published, "ratio": published / ours}


def loading() -> dict[str, float]:
    """Compare a batch of 32 random latents from a mapped shard with one slice per latent and a stack."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.safetensors"
        write_shard(path, torch.randn(8192, 32, 16, 16), torch.ones(8192))
        dataset = LatentDataset([open_shard(path)], torch.tensor([1]))
        indices = torch.randint(0, 8192, (64, 32)).tolist()

        def one_by_one() -> None:
            for batch in indices:
                rows = []
                for index in batch:
                    with safe_open(path, framework="pt") as file:
                        rows.append(file.get_slice("latents")[index : index + 1])
                torch.cat(rows)

        ours = median_seconds(lambda: [dataset.__getitems__(batch) for batch in indices])
        plain = median_seconds(one_by_one)
    per_second = 64 * 32 / ours
    return {"latents per second": per_second, "seconds ours": ours, "seconds one by one": plain, "ratio": plain / ours}


def weight_average(size: str) -> dict[str, float]:
    """Compare an update of the weight average fused over all weights with an update weight by weight."""
    network, results = build(size), {}
    averages: dict[str, Callable[[], AveragedModel]] = {
        "ours": lambda: AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9999)),
        "weight by weight": lambda: AveragedModel(network, avg_fn=get_ema_avg_fn(0.9999)),
    }
    for name, make in averages.items():
        results[f"seconds {name}"] = median_seconds(partial(make().update_parameters, network), 20)
    return results | {"ratio": results["seconds weight by weight"] / results["seconds ours"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny", help="tiny, or a preset such as LightningDiT-XL/1")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    gpu = torch.cuda.get_device_name() if DEVICE.type == "cuda" else None
    figures = {
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "command": f"python benchmarks/microdoppler.py --size {arguments.size} --batch_size {arguments.batch_size}",
        "torch": torch.__version__,
        "training step": training(arguments.size, arguments.batch_size),
        "attention": attention(arguments.size, arguments.batch_size),
        "guided sampling": guidance(arguments.size, max(1, arguments.batch_size // 4)),
        "latent loading": loading(),
        "weight average": weight_average(arguments.size),
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
