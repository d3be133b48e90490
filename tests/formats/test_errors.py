"""Input errors keep their message when they leave other processes."""

import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from formats.errors import InputError, check_settings


class MovedError(InputError):
    """The same error in another module."""


class Broken(Dataset[int]):
    def __init__(self, error: type[InputError], where: str) -> None:
        self.error, self.where = error, where

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise self.error(self.where, "is broken", "Replace it.")


@pytest.mark.parametrize("error", [InputError, MovedError])
@pytest.mark.parametrize("where", ["image.png", "two\nlines.png"])
def test_message_survives_a_dataloader_worker(error: type[InputError], where: str) -> None:
    """It does not depend on the module that the class is in."""
    with pytest.raises(error) as caught:
        next(iter(DataLoader(Broken(error, where), num_workers=1)))
    assert str(caught.value) == f"{where}: is broken. Replace it."


def test_message_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(InputError("image.png", "is broken", "Replace it.")))
    assert (error.where, error.fault, error.remedy) == ("image.png", "is broken", "Replace it.")


def test_message_without_a_fault_is_shown_as_it_is() -> None:
    assert str(InputError("image.png")) == "image.png"


def test_first_setting_out_of_range_is_named() -> None:
    check_settings({"--a": ("at least 1", True)})
    with pytest.raises(InputError, match="--b: must be at least 2"):
        check_settings({"--a": ("at least 1", True), "--b": ("at least 2", False), "--c": ("at least 3", False)})
