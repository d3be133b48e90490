"""Running out of memory, as one line that says what to change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from jsonargparse import Namespace

from command_line.trainer import hardware_precision
from formats.disk_faults import chain
from formats.errors import InputError

# Texts of allocators that raise a plain RuntimeError: of the CPU, of CUDA's driver, of cuBLAS.
TEXTS = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"
)


def memory_fault(fault: BaseException) -> BaseException | None:
    """Return what an allocator of the CPU or the GPU raised for want of memory, also where another fault followed."""
    for part in chain(fault):
        if isinstance(part, torch.OutOfMemoryError | MemoryError):
            return part
        if isinstance(part, RuntimeError) and TEXTS.search(str(part)):
            return part
    return None


def explained(fault: BaseException, command: str, settings: Namespace) -> InputError:
    """Return an error with the settings that decide on memory, and what to change, in order.

    Args:
        fault: What the allocator raised.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        settings: The command's parsed settings.
    """
    model, data = (_arguments(settings, key) for key in ("model", "data"))
    precision = settings.trainer.precision
    precision = hardware_precision(str(settings.trainer.accelerator)) if precision == "auto" else precision
    numbers, changes = list[str](), list[str]()
    batch_size = data.get("batch_size")
    if isinstance(batch_size, int):
        numbers.append(f"batch size {batch_size}")
        if batch_size > 1:
            changes.append(_smaller_batch(command, batch_size, settings.trainer.accumulate_grad_batches))
    if "gradient_checkpointing" in model and command == "fit":
        is_on = model["gradient_checkpointing"]
        numbers.append(f"gradient checkpointing {'on' if is_on else 'off'}")
        if not is_on:
            changes.append("--model.gradient_checkpointing true")
    numbers.append(f"precision {precision}")
    if torch.cuda.is_available() and str(precision).startswith(("32", "64")):
        changes.append("--trainer.precision auto")
    if "frozen" in model and not model["frozen"] and command == "fit":
        changes.append("--model.frozen aggregator.*")
    if "window_chunk_size" in model and model["window_chunk_size"] != 1:
        changes.append(f"--model.window_chunk_size {(model['window_chunk_size'] or 16) // 2}")
    if isinstance(data.get("image_size"), int) and "tokenizer_path" not in model:  # latents have a fixed size
        numbers.append(f"image size {data['image_size']}")
        changes.append(f"a smaller --data.image_size than {data['image_size']}")
    if command == "fit":
        changes.append("a smaller network, such as in configs/overlays/tiny_*.yaml")
    elif torch.cuda.is_available():
        changes.append("--trainer.accelerator cpu")
    reason = ". ".join(re.sub(r"\s+", " ", str(fault).strip() or type(fault).__name__).split(". ")[:2])[:200]
    listed = "; ".join(f"({number}) {change}" for number, change in enumerate(changes, 1))
    remedy = f"Change in this order until it fits: {listed}" if changes else "Use a machine with more memory"
    fault_text = f"out of memory with {', '.join(numbers)} ({reason})"
    return InputError(command, fault_text, f"{remedy}; see docs/troubleshooting.md.")


def _arguments(settings: Namespace, key: str) -> Mapping[str, Any]:
    part = settings.get(key)
    arguments: Mapping[str, Any] = part.init_args.as_dict() if part is not None and "init_args" in part else {}
    return arguments


def _smaller_batch(command: str, batch_size: int, accumulated: int) -> str:
    smaller = f"--data.batch_size {batch_size // 2}"
    return f"{smaller} --trainer.accumulate_grad_batches {2 * accumulated}" if command == "fit" else smaller
