"""Fixtures shared by all tests: a small spectrogram dataset, its latents and a trained checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cli import main
from formats.spectrogram_axes import SpectrogramAxes
from tests.support.commands import extraction_words, training_words, write_spectrograms

# The suite runs one process per core; a second thread in each would only contend with the other process.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Results must not depend on whether the processor multiplies bf16 numbers, here and in commands that tests start.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in its own folder, which the relative paths of configurations are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Start with two threads, as on a machine of two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def spectrograms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_spectrograms(tmp_path_factory.mktemp("spectrograms"))
    SpectrogramAxes(2.0, -1.0, 4.0).write(folder)
    return folder


@pytest.fixture(scope="session")
def latents(spectrograms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    main(extraction_words(spectrograms, folder))
    return folder


@pytest.fixture(scope="session")
def trained(latents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)
    os.environ["WANDB_MODE"] = "disabled"
    try:
        main(training_words(latents))
    finally:
        os.chdir(before)
    return folder / "runs" / "dit_microdoppler" / "version_0" / "checkpoints" / "last.ckpt"
