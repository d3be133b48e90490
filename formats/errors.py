"""Error for input that cannot be used, and a check of settings that raises it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class InputError(ValueError):
    """A file, folder or setting that cannot be used.

    The command line prints it as one line and exits with status 1; library users can catch it.

    Args:
        where: File, folder or setting at fault.
        fault: Description of the fault, as a clause without a full stop.
        remedy: How to correct it, as a sentence.

    Example:
        >>> print(InputError("data/train", "there is no folder ID_<n> in it", "Set --data.data_dir to the dataset."))
        data/train: there is no folder ID_<n> in it. Set --data.data_dir to the dataset.
    """

    def __init__(self, where: str | Path, fault: str = "", remedy: str = "") -> None:
        fault = " ".join(fault.splitlines())  # messages of libraries may have several lines
        self.where, self.fault, self.remedy = str(where), fault, remedy
        super().__init__(where, fault, remedy)

    def __str__(self) -> str:
        if self.fault:
            return f"{self.where}: {self.fault}. {self.remedy}"
        # An error in a worker of a DataLoader is raised again with its printed traceback as the only argument. The
        # traceback ends with the name of the class, as Python prints it, and the message.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        return self.where.rpartition(name)[2].strip()


def check_settings(requirements: Mapping[str, tuple[str, bool]]) -> None:
    """Check that settings can be used.

    Args:
        requirements: For each option, such as ``--data.batch_size``, what its value must be, and whether it is.

    Raises:
        InputError: A setting cannot be used; the first of them is named.

    Example:
        >>> check_settings({"--data.batch_size": ("at least 1", 8 >= 1)})
    """
    for name, (requirement, is_met) in requirements.items():
        if not is_met:
            raise InputError(name, f"must be {requirement}", "Choose another value.")
