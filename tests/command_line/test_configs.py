"""``configs`` lists what is shipped, and copies one to edit."""

from pathlib import Path

import pytest

import configs
from cli import main
from command_line.configs import shipped_name, shipped_names
from command_line.tasks import UsageError
from formats.errors import InputError
from tests.support.commands import ROOT


def test_every_configuration_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shipped_names()) == len(list((ROOT / "configs").rglob("*.yaml")))
    for line in lines:
        name, about = line.split(maxsplit=1)
        assert (configs.FOLDER / name).is_file()
        assert about.endswith("."), line
        assert len(line) <= 150


@pytest.mark.parametrize("word", ["tiny_pair", "overlays/tiny_pair.yaml", "configs/overlays/tiny_pair.yaml"])
def test_names_are_found_as_typed(word: str) -> None:
    assert shipped_name(word) == "overlays/tiny_pair.yaml"


def test_a_copy_can_be_edited_and_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["configs", "copy", "dit_microdoppler"])
    assert capsys.readouterr().out == "dit_microdoppler.yaml: copied; use it with --config dit_microdoppler.yaml\n"
    copied = tmp_path / "dit_microdoppler.yaml"
    assert copied.read_bytes() == (configs.FOLDER / "dit_microdoppler.yaml").read_bytes()
    copied.write_text("mine")
    with pytest.raises(InputError, match="exists and is not overwritten"):
        main(["configs", "copy", "dit_microdoppler"])
    assert copied.read_text() == "mine"
    main(["configs", "copy", "overlays/cpu.yaml", "new/here.yaml"])
    assert (tmp_path / "new" / "here.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["copy", "dit_microdopler"],
            "configuration 'dit_microdopler'. Did you mean 'dit_microdoppler.yaml'",
        ),
        (["copy"], "cannot do 'copy'. Type `configs`"),
        (["remove", "a"], "cannot do 'remove a'"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main(["configs", *words])
