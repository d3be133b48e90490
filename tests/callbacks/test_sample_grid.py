"""Grid of samples during training, with and without the tokenizer of the latents."""

import shutil
from pathlib import Path

import pytest

from cli import main
from formats.errors import InputError
from formats.images import read_rgb
from tests.support.commands import training_words


def words(latents: Path, *more: str) -> list[str]:
    """Return the command of one epoch that draws a grid."""
    return training_words(latents, "--trainer.max_epochs=1", "--trainer.fast_dev_run=false", *more)


def grid(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "out" / "version_0" / "images").glob("samples_*.png")
    return path


@pytest.fixture
def without_tokenizer(latents: Path, tmp_path: Path) -> Path:
    """Latents without a tokenizer, like published ones."""
    folder = tmp_path / "alone"
    folder.mkdir()
    for path in latents.glob("*.safetensors"):
        if path.name != "tokenizer.safetensors":
            shutil.copy(path, folder)
    return folder


DRAW = ["--output_dir=out", "--trainer.callbacks+=SampleGrid", "--trainer.callbacks.every_n_epochs=1"]


def test_latents_alone_are_enough(without_tokenizer: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    main(words(without_tokenizer, *DRAW))
    lines = [record.message for record in caplog.records if "drawn as latents" in record.message]
    assert lines[0].startswith("samples during training are drawn as latents, not as spectrograms")
    assert "--model.tokenizer_path names it" in lines[0]
    assert read_rgb(grid(tmp_path)).shape[0] > 3 * 190
    assert (tmp_path / "alone" / "latents_stats.pt").is_file()


def test_a_tokenizer_that_the_user_names_must_exist(without_tokenizer: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pt: no such file or folder"):
        main(words(without_tokenizer, *DRAW, "--vavae_path", "nowhere.pt"))
