"""The names that notebooks import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lightning_modules
import trilight
from tests.support.commands import ROOT


def test_names_are_classes_and_functions_of_their_modules() -> None:
    names = [name for name in dir(trilight) if not name.startswith("_") and callable(getattr(trilight, name))]
    assert {"PairDepthCameraModule", "LatentDataModule", "LayeredArtDataModule", "load_published"} <= set(names)
    for name in names:
        assert getattr(trilight, name).__name__ == name
    assert trilight.__version__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trilight.Nothing  # noqa: B018


def test_the_three_modules_are_in_one_package() -> None:
    from lightning_modules import LayerIndexModule, PairDepthCameraModule, UserConditionedDiTModule

    assert LayerIndexModule is trilight.LayerIndexModule
    assert PairDepthCameraModule is trilight.PairDepthCameraModule
    assert UserConditionedDiTModule is trilight.UserConditionedDiTModule
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        lightning_modules.Nothing  # noqa: B018


def test_importing_does_not_import_pytorch() -> None:
    code = "import sys, trilight, lightning_modules; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
