"""A small AerialMegaDepth dataset, shared and to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.aerial_scene import write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("aerial"))


@pytest.fixture
def own_scene(scene: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scene, tmp_path / "aerial")
