"""Where a module's weights come from: a training checkpoint, training itself, or a published file."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule
from torch import nn

from formats.errors import InputError
from networks.checkpoints import LoadReport, load_published


class PublishedStart(LightningModule):
    """A module that starts training from a published file, and never predicts with random weights.

    Subclasses set ``network``, and have the hyperparameter ``published_checkpoint``, a path or None.
    """

    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self._started = self._has_weights = False

    def starts_training(self) -> bool:
        """In training, at the first call: load the published file where one is named, and say yes."""
        if self._trainer is None or self.trainer.state.fn != "fit" or self._started:
            return False
        self._started = True
        if self.hparams["published_checkpoint"]:
            self.accept_for_training(self._load())
        return True

    def _load(self) -> LoadReport:
        report = load_published(self.network, self.hparams["published_checkpoint"])  # type: ignore[arg-type]
        self.print(report)
        return report

    def accept_for_training(self, report: LoadReport) -> None:
        """Make the network ready to train after a published file was loaded; nothing by default."""

    def accept_for_use(self, report: LoadReport) -> None:
        """Refuse a published file that is of no use as it is; none by default."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note that there are weights worth using."""
        self._has_weights = True

    def on_fit_start(self) -> None:
        """Note that there will be weights worth using."""
        self._has_weights = True

    def _use_weights(self) -> None:
        """Take the published file where no checkpoint was given; random weights are not to be used in earnest."""
        if self._has_weights:
            return
        if not self.hparams["published_checkpoint"]:
            remedy = (
                "Name a training checkpoint with --ckpt_path, or a published file with --model.published_checkpoint."
            )
            raise InputError("model", "has random weights", remedy)
        self.accept_for_use(self._load())
        self._has_weights = True

    def on_validation_start(self) -> None:
        """See that there are weights.

        Raises:
            InputError: There are none.
        """
        self._use_weights()

    def on_test_start(self) -> None:
        """See that there are weights.

        Raises:
            InputError: There are none.
        """
        self._use_weights()

    def on_predict_start(self) -> None:
        """See that there are weights.

        Raises:
            InputError: There are none.
        """
        self._use_weights()
