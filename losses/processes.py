"""Sums over the batches of all processes, which together form one batch.

Training on several processes averages their gradients. A loss that is a mean over pixels, say, then differs from that
of one process with the whole batch unless every process has the same number of pixels. The functions here weigh the
part of each process, so that the average over the processes is the mean over the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """Processes that train together, each with its own part of a batch.

    Nothing here synchronises with the device. With several processes, all of them must make the same calls.

    Args:
        size: Number of processes; 1 communicates with no other.

    Example:
        >>> Processes().mean(torch.tensor(6.0), torch.tensor(3))
        tensor(2.)
    """

    size: int = 1

    @classmethod
    def all(cls) -> Processes:
        """Return the processes of the default group; one if there is no group."""
        return cls(dist.get_world_size()) if dist.is_available() and dist.is_initialized() else cls()

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over the processes, without a gradient."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def mean(self, total: Tensor, count: Tensor, min_count: float = 1) -> Tensor:
        """Return this process's part of a mean over the whole batch.

        Args:
            total: Sum of the values of this process, with a gradient.
            count: Number, or sum of weights, of these values.
            min_count: Smallest divisor.

        Returns:
            Σ values · P / Σ counts, where the sum of the counts is over all P processes: the average of these parts
            over the processes is the mean over the whole batch.
        """
        return total * self.size / self.sum(count).clamp(min=min_count)


def nth_largest(values: Tensor, mask: Tensor, rank: Tensor, processes: Processes) -> Tensor:
    """Return the n-th largest of the masked values of all processes, without gathering them.

    The digits of the value, of 16 bits each, are found one after another by counting the values with each digit.

    Args:
        values: Any shape, finite, float32 or float64.
        mask: Bool of the same shape.
        rank: Scalar int64, 0 for the largest.
        processes: The processes.

    Returns:
        (1,) of the type of the values; arbitrary if there are not that many values.
    """
    integers, bits = (torch.int64, 64) if values.dtype == torch.float64 else (torch.int32, 32)
    keys = _ascending(values.detach().contiguous().flatten().view(integers), bits).long()
    candidates, found = mask.flatten(), torch.zeros((), dtype=torch.int64, device=values.device)
    for shift in range(bits - 16, -1, -16):
        is_first = shift == bits - 16  # its digits have the sign
        digits = (keys >> shift) + 2**15 if is_first else (keys >> shift) & 0xFFFF
        counts = torch.zeros(2**16, dtype=torch.int64, device=values.device)
        counts = processes.sum(counts.scatter_add_(0, digits, candidates.long()))
        from_top = counts.flip(0).cumsum(0)
        position = (from_top <= rank).sum().clamp(max=2**16 - 1)
        rank = rank - (from_top.gather(0, position[None])[0] - counts.flip(0).gather(0, position[None])[0])
        digit = 2**16 - 1 - position
        candidates = candidates & (digits == digit)
        found = found + ((digit - 2**15 if is_first else digit) << shift)
    result: Tensor = _ascending(found.to(integers)[None], bits).view(values.dtype)
    return result


def _ascending(integers: Tensor, bits: int) -> Tensor:
    """Map the bits of floats to integers of the same order; its own inverse."""
    signs = integers >> (bits - 1)
    ordered: Tensor = integers ^ (signs & (2 ** (bits - 1) - 1))
    return ordered
