"""Whether the processor multiplies matrices of bf16 numbers, about twice as fast as those of float32."""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")  # of Intel and AMD, and of Arm
# Limits of the instruction set of oneDNN, which computes PyTorch's matrix products, that still include bf16.
LIMITS_WITH_BF16 = ("DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16")


def bf16_instructions() -> str | None:
    """Return the flag of the processor's bf16 products; None without them, and where ``/proc/cpuinfo`` is missing.

    The environment variable ``ONEDNN_MAX_CPU_ISA``, with which oneDNN limits its instructions, is respected: at
    ``AVX512_CORE``, for example, there are no bf16 products.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper() not in LIMITS_WITH_BF16:
        return None
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = set(values.split())
            return next((flag for flag in BF16_FLAGS if flag in flags), None)
    return None
