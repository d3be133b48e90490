"""A folder belongs to the settings it was started with."""

from pathlib import Path

import pytest

from formats.errors import InputError
from prepare.output_folder import claim_folder


def test_new_and_empty_folders_are_accepted_and_may_be_continued(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "new"):
        claim_folder(tmp_path / name, {"seed": 1})
    assert (tmp_path / "new" / "simulation.json").is_file()


def test_other_settings_and_other_contents_are_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path / "data", {"seed": 1}, "a.json")
    with pytest.raises(InputError, match=r"a\.json: .*other settings"):
        claim_folder(tmp_path / "data", {"seed": 2}, "a.json")
    with pytest.raises(InputError, match=r"no b\.json in it"):
        claim_folder(tmp_path / "data", {"seed": 1}, "b.json")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: exists"):
        claim_folder(tmp_path / "file", {})


def test_a_broken_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        claim_folder(tmp_path, {"seed": 1})
