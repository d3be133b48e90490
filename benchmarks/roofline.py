"""Operations and bytes of each path at full size, the time that hardware allows for them, and the share reached here.

python -m benchmarks roofline --json benchmarks/results/roofline_cpu.json

Operations are counted on fake tensors, which have shapes but no values. Each matrix product, convolution and attention
takes as long as the larger of its arithmetic and its memory traffic: its operands and its result once, in bf16. All
else is taken as fused into them, and costs nothing; so this is a limit, not an estimate. An optimiser step adds its
traffic, 28 bytes per parameter. The share reached is that of the largest rate that a float32 matrix product reaches in
the same run, with small networks of the same kind, by CPU time on one thread, which other processes disturb little.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from formats.atomic import write_json
from networks.depth_pro import PRESETS as DEPTH_PRO
from networks.depth_pro import LayerIndexNet
from networks.lightning_dit import PRESETS as DIT
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.vggt import PRESETS as VGGT_PRESETS
from networks.vggt import VGGT

# Dense bf16 operations and bytes per second, as published.
HARDWARE = {"A100": (312e12, 2.0e12), "H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
ADAMW_BYTES = 28  # weight, gradient and two moments are read, weight and moments written, in float32
aten = torch.ops.aten
ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward


class Operation(NamedTuple):
    """Operations (a multiplication and an addition are two) and bytes of one product."""

    flops: float
    bytes: float


class Counter(TorchDispatchMode):
    """Lists the products that are computed."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # mypy knows by this name that the untyped call is torch's
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count it."""
        result, packet = func(*args, **(kwargs or {})), func._overloadpacket
        flops = None
        if packet is ATTENTION:
            flops = sdpa_flop_count(*(part.shape for part in args[:3]))
        elif packet is ATTENTION_BACKWARD:
            flops = sdpa_backward_flop_count(*(part.shape for part in args[:4]))
        elif packet in flop_registry:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        if flops is not None:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.operations.append(Operation(float(flops), 2.0 * sum(tensor.numel() for tensor in tensors)))
        return result


def seconds_allowed(operations: list[Operation], peak: float, bandwidth: float) -> float:
    """Return the least time that arithmetic and memory traffic allow.

    Example::

        >>> seconds_allowed([Operation(100.0, 1.0), Operation(1.0, 50.0)], peak=100, bandwidth=10)
        6.0

    """
    return sum(max(flops / peak, count / bandwidth) for flops, count in operations)


class Case(NamedTuple):
    """A network, its inputs and what one evaluation is for."""

    network: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]


def dit(config: LightningDiTConfig, batch_size: int) -> Case:
    def inputs() -> tuple[Tensor, ...]:
        latents = torch.randn(batch_size, config.in_channels, *config.grid)
        return latents, torch.rand(batch_size), torch.zeros(batch_size, dtype=torch.long)

    return Case(lambda: LightningDiT(replace(config, num_classes=10)), inputs)


def paths(is_small: bool) -> dict[str, Case]:
    if is_small:
        small = LightningDiTConfig(hidden_size=256, depth=4, num_heads=8, patch_size=2, use_qknorm=True)
        return {
            "LightningDiT, width 256, 16 latents": dit(small, 16),
            "VGGT tiny, one pair of 224 px": Case(
                lambda: VGGT(VGGT_PRESETS["tiny"]), lambda: (torch.rand(1, 2, 3, 224, 224),)
            ),
            "Depth Pro tiny, 384 px": Case(
                lambda: LayerIndexNet(DEPTH_PRO["tiny"]), lambda: (torch.rand(1, 3, 384, 384),)
            ),
        }
    return {
        "LightningDiT-XL/1, 32 latents": dit(DIT["LightningDiT-XL/1"], 32),
        "VGGT-1B, one pair of 518 px": Case(
            lambda: VGGT(VGGT_PRESETS["VGGT-1B"]), lambda: (torch.rand(1, 2, 3, 518, 518),)
        ),
        "Depth Pro, 1536 px": Case(
            lambda: LayerIndexNet(DEPTH_PRO["DepthPro-L"]), lambda: (torch.rand(1, 3, 1536, 1536),)
        ),
    }


def total(outputs: Any) -> Tensor:
    """Sum all outputs, so that a backward pass reaches every weight."""
    leaves = tree_leaves(vars(outputs) if is_dataclass(outputs) else outputs)
    return torch.stack([leaf.float().sum() for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]).sum()


def count(path: Case, train: bool) -> tuple[list[Operation], int]:
    """Return the products of a forward pass, or of a training step, and the number of parameters."""
    with torch.device("meta"):
        on_meta = path.network()
    with FakeTensorMode(allow_non_fake_inputs=True):
        network, inputs = on_meta.to_empty(device="cpu"), path.inputs()
        with Counter() as counter, torch.set_grad_enabled(train):
            outputs = network(*inputs)
            if train:
                total(outputs).backward()
        return counter.operations, sum(parameter.numel() for parameter in network.parameters())


def matrix_peak(repeats: int = 5) -> float:
    """Return the largest rate of a float32 matrix product on this processor, in operations per second."""
    rates = []
    for side in (512, 1024, 2048):
        left, right = torch.randn(side, side), torch.randn(side, side)
        for _ in range(repeats + 1):
            start = time.process_time()
            left @ right
            rates.append(2 * side**3 / (time.process_time() - start))
    return max(rates)


def measured(repeats: int) -> dict[str, Any]:
    """Time small networks on this processor, next to the peak of a matrix product in the same run."""
    rows: dict[str, Any] = {}
    peaks = [matrix_peak()]
    for name, path in paths(is_small=True).items():
        torch.manual_seed(0)
        network, inputs = path.network().eval(), path.inputs()
        for kind, train in (("forward", False), ("training step without optimiser", True)):
            flops = sum(operation.flops for operation in count(path, train)[0])
            seconds = []
            for _ in range(repeats + 1):
                start = time.process_time()
                with torch.set_grad_enabled(train):
                    outputs = network(*inputs)
                    if train:
                        total(outputs).backward()
                seconds.append(time.process_time() - start)
            peaks.append(matrix_peak())
            timed = sorted(seconds[1:])
            rows[f"{name}: {kind}"] = {
                "GFLOP": flops / 1e9,
                "CPU seconds": statistics.median(timed),
                "fastest and slowest": [timed[0], timed[-1]],
                "share of the matrix product's peak": flops / statistics.median(timed) / statistics.median(peaks[-2:]),
            }
    return {"peak of a float32 matrix product, GFLOP/s": [round(peak / 1e9, 1) for peak in peaks], "paths": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs after a warm-up")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    here = measured(arguments.repeats)
    peak = statistics.median(here["peak of a float32 matrix product, GFLOP/s"]) * 1e9
    full = {}
    for name, path in paths(is_small=False).items():
        for kind, train in (("forward", False), ("training step", True)):
            operations, parameters = count(path, train)
            step = ADAMW_BYTES * parameters if train else 0
            allowed = {
                f"seconds {device}": seconds_allowed([*operations, Operation(0.0, float(step))], *numbers)
                for device, numbers in HARDWARE.items()
            }
            flops = sum(operation.flops for operation in operations)
            full[f"{name}: {kind}"] = {
                "TFLOP": flops / 1e12,
                "GB": (sum(operation.bytes for operation in operations) + step) / 1e9,
                **allowed,
                "seconds this processor, float32": flops / peak,
            }
    results = {
        "device": f"{platform.machine()} CPU, {torch.get_num_threads()} threads, float32",
        "command": f"python -m benchmarks roofline --repeats {arguments.repeats}",
        "torch": torch.__version__,
        "full size": full,
        "measured here": here,
    }
    print(json.dumps(results, indent=2))
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    main()
