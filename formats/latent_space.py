"""Statistics, users and tokenizer of a training run, as stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from formats.errors import InputError
from formats.latent_shards import LatentStatistics
from formats.spectrogram_axes import AXES, SpectrogramAxes

CHECKPOINT_KEY = "latent_space"


@dataclass(frozen=True)
class LatentSpace:
    """Map between the tokenizer's latents and the network's, and between users and classes.

    The network's latents are (latent − mean) / std · multiplier. Decoding with other statistics than in training
    gives plausible but wrong images, so generation takes them from the checkpoint only.

    Attributes:
        statistics: Mean and std per channel.
        policy: Source of the statistics: ``dataset`` or ``imagenet``.
        multiplier: Scale after normalising (1 for VA-VAE).
        user_ids: (K,) int64, ascending, as in the folder names, possibly with gaps; class k is user_ids[k].
        tokenizer: Path of the tokenizer that made the latents; empty if not recorded.
        tokenizer_fingerprint: Hash of its weights; empty if not recorded.
        axes: Time and speeds of the training images; None if not recorded.
    """

    statistics: LatentStatistics
    policy: str
    multiplier: float
    user_ids: Tensor
    tokenizer: str = ""
    tokenizer_fingerprint: str = ""
    axes: SpectrogramAxes | None = None

    def to(self, device: torch.device) -> LatentSpace:
        """Return a copy with the statistics on a device, to avoid copying them there in every step."""
        statistics = LatentStatistics(self.statistics.mean.to(device), self.statistics.std.to(device))
        return replace(self, statistics=statistics)

    def normalise(self, latents: Tensor) -> Tensor:
        """Convert the tokenizer's latents (B, C, H, W) to the network's."""
        mean, std = self._per_channel(latents)
        return (latents - mean) / std * self.multiplier

    def denormalise(self, latents: Tensor) -> Tensor:
        """Convert the network's latents (B, C, H, W) to the tokenizer's."""
        mean, std = self._per_channel(latents)
        return latents / self.multiplier * std + mean

    def _per_channel(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.statistics.mean, self.statistics.std
        return mean.to(latents).view(-1, 1, 1), std.to(latents).view(-1, 1, 1)

    def classes(self, user_ids: Tensor) -> Tensor:
        """Return the class (N,) of each user ID (N,).

        Raises:
            InputError: An ID is not among the users.
        """
        known, user_ids = self.user_ids.to(user_ids.device), user_ids.contiguous()
        classes = torch.searchsorted(known, user_ids).clamp_max(len(known) - 1)
        unknown = user_ids[known[classes] != user_ids].unique().tolist()
        if unknown:
            raise InputError(
                f"user {', '.join(map(str, unknown))}",
                "is not among the users of the training data",
                f"Choose from {', '.join(map(str, known.tolist()))}.",
            )
        return classes

    def differences(self, other: LatentSpace) -> list[str]:
        """Name the differences that would make a resumed run or a decoded sample wrong."""
        names = []
        if not torch.equal(self.user_ids.cpu(), other.user_ids.cpu()):
            names.append("users")
        if not torch.allclose(self.statistics.mean, other.statistics.mean, atol=1e-6):
            names.append("latent mean")
        if not torch.allclose(self.statistics.std, other.statistics.std, atol=1e-6):
            names.append("latent std")
        if self.multiplier != other.multiplier:
            names.append("latent multiplier")
        if self.tokenizer_fingerprint != other.tokenizer_fingerprint:
            names.append("tokenizer")
        return names

    def with_users_of(self, data: LatentSpace) -> LatentSpace:
        """Return this latent space with the users of new data added; its statistics stay.

        Raises:
            InputError: The new latents were made by another tokenizer.
        """
        fingerprints = {self.tokenizer_fingerprint, data.tokenizer_fingerprint} - {""}
        if len(fingerprints) > 1:
            fault = "were made by another tokenizer than the latents of the checkpoint"
            name = self.tokenizer or "the checkpoint's tokenizer"
            raise InputError("latents", fault, f"Extract them with --model.tokenizer_path {name}.")
        return replace(
            self,
            user_ids=torch.cat([self.user_ids, data.user_ids]).unique(),
            tokenizer=data.tokenizer or self.tokenizer,
            axes=data.axes or self.axes,
        )

    def to_checkpoint(self) -> dict[str, Any]:
        """Convert to plain tensors, numbers and strings, which load with ``weights_only=True``."""
        return {
            "mean": self.statistics.mean.cpu(),
            "std": self.statistics.std.cpu(),
            "policy": self.policy,
            "multiplier": self.multiplier,
            "user_ids": self.user_ids,
            "tokenizer": self.tokenizer,
            "tokenizer_fingerprint": self.tokenizer_fingerprint,
            "axes": self.axes.to_dict() if self.axes else None,
        }

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> LatentSpace:
        """Inverse of :meth:`to_checkpoint`."""
        rest = {key: value for key, value in content.items() if key not in ("mean", "std", "axes")}
        axes = SpectrogramAxes.from_dict(content["axes"], f"{AXES} in the checkpoint") if content.get("axes") else None
        return cls(LatentStatistics(content["mean"].cpu(), content["std"].cpu()), axes=axes, **rest)
