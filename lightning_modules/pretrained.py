"""Mixin for modules that start from published weights and never predict with random ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from batches.trainer import trainer_of
from formats.errors import InputError
from lightning_modules.sharing import SharingMixin
from networks.checkpoints import LoadReport, PublishedNetwork, load_published, to_published
from networks.shipped_weights import ShippedWeights, load_shipped

PUBLISHED = "published"  # naming of the tensors in a folder


class PretrainedMixin(SharingMixin):
    """Load a published checkpoint before training, or before evaluation if no training checkpoint is given.

    Subclasses set ``network``, and have the hyperparameter ``published_checkpoint``, a path or None. Those with weights
    in the repository name them in ``SHIPPED_WEIGHTS`` and have the hyperparameter ``shipped_weights``, a name or None.
    """

    SHIPPED_WEIGHTS: ClassVar[str | None] = None

    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self._training_started = self._has_weights = False

    def starts_training(self) -> bool:
        """Load the published file, if one is named, at the first call within ``fit``.

        Returns:
            Whether this is the first call within ``fit``.
        """
        trainer = trainer_of(self)
        if trainer is None or trainer.state.fn != "fit" or self._training_started:
            return False
        self._training_started = True
        if self.hparams["published_checkpoint"]:
            self.accept_for_training(self._load())
        return True

    def _load(self, check: Callable[[LoadReport], None] | None = None) -> LoadReport:
        network = cast(PublishedNetwork, self.network)
        report = load_published(network, self.hparams["published_checkpoint"], check=check)
        self.print(report)
        return report

    def use_shipped(self, name: str) -> ShippedWeights:
        """Load weights of the repository into the network.

        Args:
            name: Name of the weights.

        Raises:
            InputError: They are missing or damaged, or the network has other sizes.
        """
        weights = load_shipped(name)
        self._use(weights)
        return weights

    def _use(self, weights: ShippedWeights) -> None:
        try:
            if weights.card.get("names") == PUBLISHED:
                load_published(cast(PublishedNetwork, self.network), weights.tensors, weights.name)
            else:
                self.network.load_state_dict(weights.tensors)
        except RuntimeError as error:
            remedy = "Leave out --model.network: the card of the weights states it."
            raise InputError("--model.network", f"does not fit the weights '{weights.name}'", remedy) from error
        self.shipped, self._has_weights = replace(weights, tensors={}), True

    def weights_to_share(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the network's tensors in the published naming, which the published code loads too."""
        network = cast(PublishedNetwork, self.network)
        return to_published(network), {"network": self.hparams["network"], "names": PUBLISHED}

    @classmethod
    def from_weights(cls, weights: ShippedWeights) -> Self:
        """Build the module with weights in the published naming, or in its own."""
        module: Self = cast(Any, cls)(network=weights.card["network"])
        module._use(weights)
        return module

    def accept_for_training(self, report: LoadReport) -> None:
        """Prepare the network for training after a published file was loaded; does nothing by default."""

    def accept_for_use(self, report: LoadReport) -> None:
        """Refuse, by raising, a published file that needs training first, before it is loaded; accepts by default."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note that the weights come from training."""
        super().on_load_checkpoint(checkpoint)
        self._has_weights = True

    def on_fit_start(self) -> None:
        """Note that the weights come from training."""
        self._has_weights = True

    def _require_weights(self) -> None:
        if self._has_weights:
            return
        if not self.hparams["published_checkpoint"] and self.hparams.get("shipped_weights"):
            self.print(f"using {self.use_shipped(self.hparams['shipped_weights']).summary()}")
            return
        if not self.hparams["published_checkpoint"]:
            remedy = (
                "Name a training checkpoint with --ckpt_path, or a published file with --model.published_checkpoint."
            )
            raise InputError("model", "has random weights", remedy)
        self._load(self.accept_for_use)
        self._has_weights = True

    def on_validation_start(self) -> None:
        """Load the published file if no checkpoint was given.

        Raises:
            InputError: Neither was given.
        """
        self._require_weights()

    def on_test_start(self) -> None:
        """Load the published file if no checkpoint was given.

        Raises:
            InputError: Neither was given.
        """
        self._require_weights()

    def on_predict_start(self) -> None:
        """Load the published file if no checkpoint was given.

        Raises:
            InputError: Neither was given.
        """
        self._require_weights()
