"""The one error that says a user's input cannot be used, and settings that are looked at before all else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class InputError(ValueError):
    """A file, folder or setting that cannot be used, said so that its owner can repair it.

    The command line prints it as one line and exits with status 1; library users can catch it.

    Args:
        where: The file, folder or setting at fault.
        fault: What is wrong with it, as a clause without a full stop.
        remedy: What to do about it, as a sentence.

    Example::

        raise InputError("data/train", "no folder ID_<n> in it", "Name the data set's root with --data.data_dir.")
    """

    def __init__(self, where: str | Path, fault: str = "", remedy: str = "") -> None:
        self.where, self.fault, self.remedy = str(where), fault, remedy
        super().__init__(where, fault, remedy)  # all three, so that another process can send it back

    def __str__(self) -> str:
        if not self.fault:
            # Out of a worker of a DataLoader, torch makes the error anew of its printed traceback alone.
            return self.where.strip().splitlines()[-1].removeprefix("formats.errors.InputError: ")
        return f"{self.where}: {self.fault}. {self.remedy}"


def check_settings(requirements: Mapping[str, tuple[str, bool]]) -> None:
    """See that settings can be used.

    Args:
        requirements: Option, such as ``--data.batch_size`` → what it must be, and whether it is.

    Raises:
        InputError: One is not; the first of them is named.
    """
    for name, (wanted, met) in requirements.items():
        if not met:
            raise InputError(name, f"must be {wanted}", "Choose another value.")
