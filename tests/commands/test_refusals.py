"""Commands that cannot work: refused at once, with nothing left behind."""

from pathlib import Path
from typing import Any

import pytest

from cli import main
from formats.errors import InputError
from tests.support.commands import training_words

CONFIGS = {"microdoppler": "dit_microdoppler.yaml", "pair": "pair_aerialmd.yaml", "layers": "layer_index.yaml"}
ON_CPU = ["--trainer.accelerator=cpu", "--trainer.devices=1"]


@pytest.fixture(autouse=True)
def _networks_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A W&B run would leave a folder, and a network of full size would take a minute."""

    def build(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a network was built before the command was refused")

    monkeypatch.setenv("WANDB_MODE", "offline")
    for network in (
        "lightning_modules.pair_depth_camera.VGGT",
        "lightning_modules.layer_index.LayerIndexNet",
        "lightning_modules.user_conditioned_dit.LightningDiT",
    ):
        monkeypatch.setattr(network, build)


def refused(folder: Path, message: str, *words: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        main(list(words))
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
@pytest.mark.parametrize("task", CONFIGS)
def test_a_wrong_data_folder(task: str, command: str, tmp_path: Path) -> None:
    words = [command, f"--config={CONFIGS[task]}", "--data.data_dir=nowhere", *ON_CPU]
    refused(tmp_path, "^nowhere.*: no ", *words)


@pytest.mark.parametrize("config", ["layers_decompose.yaml", "predict_pair.yaml"])
def test_wrong_images(config: str, tmp_path: Path) -> None:
    refused(tmp_path, "^nowhere.png: ", "predict", f"--config={config}", "--data.images=nowhere.png", *ON_CPU)


def test_latents_of_a_wrong_shape(latents: Path, tmp_path: Path) -> None:
    words = training_words(latents, "--model.network.input_width=8", *ON_CPU)
    refused(tmp_path, r"^latents: have shape \(52, 1, 4\), but the model expects", *words)


def test_a_test_without_images_to_compare_with(latents: Path, trained: Path, tmp_path: Path) -> None:
    words = training_words(latents, f"--ckpt_path={trained}", "--data.images_dir=nowhere", *ON_CPU, command="test")
    refused(tmp_path, r"^nowhere: no such folder.*--data\.images_dir", *words)


@pytest.mark.parametrize("task", ["pair", "layers"])
@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_checkpoint_of_another_task(command: str, task: str, trained: Path, tmp_path: Path) -> None:
    message = "this checkpoint is of the micro-Doppler task"
    refused(tmp_path, message, command, f"--config={CONFIGS[task]}", f"--ckpt_path={trained}", *ON_CPU)


@pytest.mark.parametrize("task", CONFIGS)
def test_a_missing_published_file(task: str, tmp_path: Path) -> None:
    words = ["fit", f"--config={CONFIGS[task]}", "--model.published_checkpoint=nowhere.pt", *ON_CPU]
    refused(tmp_path, r"^nowhere\.pt: no such file\. Name the file with --model\.published_checkpoint", *words)
