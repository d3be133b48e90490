"""Memory, and on a GPU time, of fine-tuning VGGT-1B on one image pair.

python benchmarks/vggt.py --out benchmarks/results/vggt_memory.json
python benchmarks/vggt.py --device cuda --out benchmarks/results/vggt_gpu.json

Without a GPU the training step runs at full size on fake tensors, which have shapes but no values, and every
storage is counted from its allocation to its release. This does not include memory outside of tensors: the CUDA
context (about 0.5 GB), cuDNN's workspaces, and the allocator's rounding. On a GPU the allocator's peak is reported.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from formats.atomic import write_json
from networks.vggt import PRESETS, VGGT, VGGTOutput

GB = 1e9
COUNTED = {
    "weights": "parameters, all parts",
    "gradients": "of the parameters that train",
    "AdamW": "two float32 moments per trained parameter (fused, so that a step makes no temporaries)",
    "after forward": "alive for the backward pass: saved activations, outputs, bf16 copies of trained weights",
    "peak": "greatest sum of all the above and every temporary, over two steps",
}


class Case(NamedTuple):
    """One way to fine-tune. ``budget`` is in GB, None for cases that serve as a comparison."""

    name: str
    frozen_aggregator: bool
    store_frozen: bool
    gradient_checkpointing: bool
    budget: float | None


CASES = (
    Case("heads", True, True, True, 8.0),
    Case("heads, aggregator stored in float32", True, False, True, None),
    Case("heads, nothing recomputed", True, True, False, None),
    Case("full", False, False, True, 40.0),
    Case("full, nothing recomputed", False, False, False, None),
)


class LiveStorages(TorchDispatchMode):
    """Counts the bytes of all live tensors; ``peak`` is their maximum."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # mypy knows by this name that the untyped call is torch's
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count the storages that it allocated."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, key, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class Step:
    """One training step of a case, as in a training loop."""

    def __init__(self, network: VGGT, side: int, frames: int, device: str) -> None:
        self.device = device
        # Memory and time do not depend on the values of the weights, so these stay uninitialised.
        self.network = network.to_empty(device=device)
        self.images = torch.rand(1, frames, 3, side, side, device=device)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)

    def forward(self) -> VGGTOutput:
        """Run the network under bf16 autocast."""
        with torch.autocast(self.device, torch.bfloat16):
            output: VGGTOutput = self.network(self.images)
        return output

    def backward(self, output: VGGTOutput) -> None:
        """Compute gradients of a substitute for the losses, whose cost is small compared to the network."""
        loss = torch.stack([encoding.abs().mean() for encoding in output["pose_enc_list"]]).mean()
        (loss + (output["depth"].squeeze(-1) * output["depth_conf"]).mean()).backward()

    def update(self) -> None:
        """Step the optimizer and drop the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def held(self) -> dict[str, float]:
        """Return the memory in GB that remains between steps, and that of the gradients."""
        parameters = list(self.network.parameters())
        trained = [p for p in parameters if p.requires_grad]
        return {
            "weights": sum(p.nbytes for p in parameters) / GB,
            "gradients": sum(p.nbytes for p in trained) / GB,
            "AdamW": sum(2 * p.nbytes for p in trained) / GB,
        }


def _on_meta(case: Case) -> VGGT:
    with torch.device("meta"):
        network = VGGT(PRESETS["VGGT-1B"], gradient_checkpointing=case.gradient_checkpointing, frames_chunk_size=1)
    network.aggregator.requires_grad_(not case.frozen_aggregator)
    if case.store_frozen:
        network.aggregator.store_frozen()
    return network


def counted(case: Case, side: int, frames: int) -> dict[str, float]:
    """Return the memory of a case in GB by counting storages, without allocating them."""
    network = _on_meta(case)
    with FakeTensorMode(allow_non_fake_inputs=True), LiveStorages() as storages:
        step = Step(network, side, frames, "cpu")
        storages.peak = storages.live  # building is not part of training
        for _ in range(2):
            before = storages.live
            output = step.forward()
            after = storages.live - before
            step.backward(output)
            del output
            step.update()
        return step.held() | {"after forward": after / GB, "peak": storages.peak / GB}


def measured(case: Case, side: int, frames: int) -> dict[str, float]:
    """Return memory in GB and time in seconds of a case on the GPU."""
    torch.cuda.empty_cache()
    step = Step(_on_meta(case), side, frames, "cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        before = torch.cuda.memory_allocated()
        output = step.forward()
        after = torch.cuda.memory_allocated() - before
        step.backward(output)
        del output
        step.update()
    figures = step.held() | {"after forward": after / GB, "peak": torch.cuda.max_memory_allocated() / GB}

    def full_step() -> None:
        step.backward(step.forward())
        step.update()

    with torch.no_grad():
        forward = _median_seconds(step.forward)
    return figures | {"seconds forward": forward, "seconds step": _median_seconds(full_step)}


def _median_seconds(work: Callable[[], object], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def table(results: dict[str, dict[str, float]]) -> str:
    """Format the figures as a table."""
    columns = list(next(iter(results.values())))
    width = max(map(len, results)) + 2
    lines = ["GB (10⁹ bytes)".ljust(width) + "".join(c.rjust(17) for c in columns)]
    for name, figures in results.items():
        lines.append(name.ljust(width) + "".join(f"{figures[c]:17.3f}" for c in columns))
    for case in CASES:
        if case.budget:
            lines.append(f"{case.name}: {results[case.name]['peak']:.2f} GB of a budget of {case.budget:.0f} GB")
    return "\n".join(lines + [f"{name}: {meaning}" for name, meaning in COUNTED.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["count", "cuda"], default="count", help="count storages, or measure")
    parser.add_argument("--side", type=int, default=518, help="side of the images in pixels")
    parser.add_argument("--frames", type=int, default=2, help="images of the scene")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    run = measured if arguments.device == "cuda" else counted
    results = {case.name: run(case, arguments.side, arguments.frames) for case in CASES}
    print(table(results))
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else None
    figures = {
        "device": gpu or f"counted on fake tensors ({platform.machine()})",
        "command": f"python benchmarks/vggt.py --device {arguments.device} --side {arguments.side}"
        f" --frames {arguments.frames}",
        "torch": torch.__version__,
        "counted": COUNTED,
        "budget in GB": {case.name: case.budget for case in CASES if case.budget},
        "results in GB and seconds": results,
    }
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
