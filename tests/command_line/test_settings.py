"""The user's settings, in files and options."""

from pathlib import Path

import pytest

from command_line.settings import (
    ClassSettings,
    class_settings,
    last_value,
    listed_classes,
    named_class,
    read_sources,
    with_shipped_configs,
)
from configs import FOLDER
from formats.errors import InputError


def test_files_and_options_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {class_path: A, init_args: {width: 3}}\nckpt_path: one.ckpt\n")
    sources = read_sources(["--config", "a.yaml", "--model.width=4", "--model.init_args.depth", "2", "--model", "B"])
    assert [source.name for source in sources] == ["a.yaml", "--model.width", "--model.init_args.depth", "--model"]
    found = [class_settings(source, "model") for source in sources]
    assert found == [
        ClassSettings("--model", "A", {"width": 3}),
        ClassSettings("--model", None, {"width": 4}),
        ClassSettings("--model", None, {"depth": 2}),
        ClassSettings("--model", "B", {}),
    ]
    assert named_class(sources, "model") == "B"
    assert named_class(sources, "data") is None
    assert last_value(sources, "ckpt_path") == "one.ckpt"
    assert last_value([*sources, *read_sources(["--ckpt_path", "two.ckpt"])], "ckpt_path") == "two.ckpt"
    assert "class_path: A" in sources[0].text


def test_callbacks_are_found_in_every_form() -> None:
    words = ["--trainer.callbacks=[{class_path: A, init_args: {x: 1}}, B]", "--trainer.callbacks+=C"]
    sources = read_sources([*words, "--trainer.callbacks.y=2", "--flag"])
    found = [listed_classes(source, "callbacks") for source in sources]
    option = "--trainer.callbacks"
    assert found == [
        [ClassSettings(option, "A", {"x": 1}), ClassSettings(option, "B", {})],
        [ClassSettings(option, "C", {})],
        [ClassSettings(option, None, {"y": 2})],
        [],
    ]


def test_inline_yaml_is_a_source() -> None:
    (source,) = read_sources(["--config", "model:\n  class_path: A\n"])
    assert class_settings(source, "model") == ClassSettings("--model", "A", {})


@pytest.mark.parametrize(
    ("text", "fault"), [("a: [1", "cannot be read as YAML"), ("- a\n", "does not hold settings"), ("", "")]
)
def test_broken_files_are_named(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    if fault:
        with pytest.raises(InputError, match=rf"a\.yaml: {fault}"):
            read_sources(["--config=a.yaml"])
    else:
        assert not read_sources(["--config=a.yaml"])[0].settings


@pytest.mark.parametrize("name", ["configs/overlays/cpu.yaml", "overlays/cpu.yaml"])
def test_shipped_configurations_are_found_from_any_folder(name: str) -> None:
    shipped = str(FOLDER / "overlays" / "cpu.yaml")
    words = with_shipped_configs(["--config", name, f"--config={name}", "-c", name, "--other", name])
    assert words == ["--config", shipped, f"--config={shipped}", "-c", shipped, "--other", name]


def test_a_file_of_the_users_comes_first(tmp_path: Path) -> None:
    (tmp_path / "layer_index.yaml").write_text("a: 1")
    assert with_shipped_configs(["--config=layer_index.yaml"]) == ["--config=layer_index.yaml"]
    assert with_shipped_configs(["--config=configs/layer_index.yaml"]) != ["--config=configs/layer_index.yaml"]


def test_missing_configurations_are_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such configuration file"):
        with_shipped_configs(["--config", "nowhere.yaml"])


def test_overlays_follow_the_experiment_that_they_change(tmp_path: Path) -> None:
    experiment, own = "layer_index.yaml", tmp_path / "own.yaml"
    own.write_text("trainer: {max_epochs: 3}")
    named = ["-c", "overlays/cpu.yaml", "--config=overlays/ddp.yaml", f"--config={own}", "--seed_everything", "1"]
    words = with_shipped_configs([*named, "--config", experiment, "--trainer.max_epochs=4"])
    overlays = FOLDER / "overlays"
    first = [f"--config={own}", "--seed_everything", "1", "--config", str(FOLDER / experiment)]
    moved = ["-c", str(overlays / "cpu.yaml"), f"--config={overlays / 'ddp.yaml'}"]
    assert words == [*first, *moved, "--trainer.max_epochs=4"]
    assert with_shipped_configs(words) == words
    alone = ["--config", str(overlays / "cpu.yaml"), f"--config={own}"]
    assert with_shipped_configs(alone) == alone
