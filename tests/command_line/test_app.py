"""The page of the three tasks: its functions, and the page where gradio is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import networks.shipped_weights
from cli import TASKS, main
from command_line import app
from command_line.app import USERS, Tasks, run_app
from command_line.main import run_command
from formats.errors import InputError
from formats.images import read_rgb, write_png
from networks.shipped_weights import REQUIRED, load_shipped, save_shipped
from networks.vggt import PRESETS, VGGT
from tests.support.commands import ROOT


def run(words: Sequence[str]) -> None:
    run_command(TASKS, [*words, "--trainer.accelerator=cpu"])


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.chdir(tmp_path)
    return Tasks(run, tmp_path / "results")


def test_a_drawing_gives_layers_and_files(tasks: Tasks, tmp_path: Path) -> None:
    drawing = np.full((60, 80, 3), 250, np.uint8)
    drawing[10:40, 10:50], drawing[20:50, 30:70] = (200, 40, 40), (40, 40, 200)
    write_png(tmp_path / "drawing.png", drawing)
    results = tasks.layers(str(tmp_path / "drawing.png"))
    assert [Path(path).name for path in results.images][:2] == ["overview.png", "00_background.png"]
    assert len(results.images) == 4
    assert all(Path(path).is_file() for path in (*results.images, *results.files))
    assert results.note.startswith("weights 'region_order':")


def test_a_person_and_a_seed_give_spectrograms(tasks: Tasks) -> None:
    first, other = tasks.spectrograms(4, 0, 2), tasks.spectrograms(4, 1, 2)
    assert [Path(path).name for path in first.files] == ["micro_doppler_user04_001.png", "micro_doppler_user04_002.png"]
    assert Path(first.images[0]).name == "micro_doppler_grid.png"
    assert not np.array_equal(read_rgb(first.files[0]), read_rgb(other.files[0]))
    assert "Knows these five simulated walkers" in first.note


@pytest.mark.slow
def test_two_images_give_depth(tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = {
        **dict.fromkeys(REQUIRED, "simulated scenes"),
        "network": asdict(PRESETS["tiny"]),
        "settings": {"data": {"init_args": {"image_size": 56}}},
        "mean_confidence_quantiles": torch.linspace(0, 10, 21).tolist(),
    }
    for module in (networks.shipped_weights, app):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    save_shipped("depth_simulated", VGGT(PRESETS["tiny"]).state_dict(), card)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    results = tasks.depth(str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert [Path(path).name for path in results.images] == ["a.png_depth.png", "b.png_depth.png"]
    assert results.scene is not None
    assert Path(results.scene).is_file()
    assert "do not rely on depth and cameras of photographs" in results.note


def test_users_are_those_of_the_weights() -> None:
    assert tuple(load_shipped("spectrograms_simulated").tensors["user_ids"].tolist()) == USERS


def test_without_gradio_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"^gradio: is not installed. .*trilight\[app\]"):
        main(["app"])


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_app(run, ["--port", "many"])
    assert ended.value.code == 2
    assert "invalid int value: 'many'" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")
def test_the_page_has_a_tab_per_task_and_stays_on_this_computer() -> None:
    """In a process of its own, since gradio leaves sockets open."""
    code = """
from pathlib import Path
from command_line.app import Tasks, build_page
page, settings = build_page(Tasks(print, Path()))
tabs = [part["props"].get("label") for part in page.config["components"] if part["type"] == "tabitem"]
print(tabs, settings["share"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['Layers', 'Depth', 'Spectrograms'] False"
