from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from formats.errors import InputError
from networks.shipped_weights import REQUIRED, available, load_shipped, save_shipped
from weights import FOLDER

CARD: dict[str, Any] = {entry: f"{entry} of the test" for entry in REQUIRED}


def tensors() -> dict[str, torch.Tensor]:
    return {"weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), "steps": torch.tensor([7])}


def test_weights_come_back_with_their_card(tmp_path: Path) -> None:
    save_shipped("net", tensors(), {**CARD, "network": {"depth": 4}}, tmp_path)
    loaded = load_shipped("net", tmp_path)
    assert torch.equal(loaded.tensors["weight"], tensors()["weight"])
    assert torch.equal(loaded.tensors["steps"], tensors()["steps"])
    assert loaded.card["network"] == {"depth": 4}
    assert loaded.summary() == "weights 'net' from the repository: summary of the test"
    assert available(tmp_path) == ["net"]


def test_half_precision_storage_loads_as_float32(tmp_path: Path) -> None:
    full = save_shipped("full", {"x": torch.randn(1000)}, CARD, tmp_path).stat().st_size
    half = save_shipped("half", {"x": torch.randn(1000)}, CARD, tmp_path, torch.float16).stat().st_size
    assert half < 0.6 * full
    assert load_shipped("half", tmp_path).tensors["x"].dtype == torch.float32


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = save_shipped("net", tensors(), CARD, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not have the SHA-256"):
        load_shipped("net", tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    save_shipped("net", tensors(), CARD, tmp_path)
    with pytest.raises(InputError, match=r"other\.safetensors: no such file\. Choose from net"):
        load_shipped("other", tmp_path)
    (tmp_path / "net.yaml").unlink()
    with pytest.raises(InputError, match=r"net\.yaml: no such file"):
        load_shipped("net", tmp_path)


@pytest.mark.parametrize("entry", REQUIRED)
def test_a_card_states_everything_required(entry: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"has no entry {entry}"):
        save_shipped("net", tensors(), {**CARD, entry: ""}, tmp_path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [("a: [", "cannot be read as YAML"), ("just text", "is not a card"), ("summary: x", "has no entry data")],
)
def test_a_broken_card_is_an_input_error(content: str, fault: str, tmp_path: Path) -> None:
    save_shipped("net", tensors(), CARD, tmp_path)
    (tmp_path / "net.yaml").write_text(content)
    with pytest.raises(InputError, match=fault):
        load_shipped("net", tmp_path)


@pytest.mark.parametrize("name", available())
def test_the_repository_s_weights_are_intact(name: str) -> None:
    card = load_shipped(name).card
    assert name in card["command"]
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 20e6
