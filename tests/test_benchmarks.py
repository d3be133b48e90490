"""The list of benchmarks, and running one by its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import FOLDER, main, names
from benchmarks.roofline import Operation, seconds_allowed


def test_every_benchmark_is_listed_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    main()
    printed = capsys.readouterr().out
    assert {"sampling", "roofline", "startup", "vggt"} <= names().keys()
    assert all(f"{name} " in printed and line in printed for name, line in names().items())
    assert all(len(line) > 20 for line in names().values())
    readme = (FOLDER / "README.md").read_text()
    assert all(f"`{name}.py`" in readme for name in names())


def test_options_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import startup

    monkeypatch.setattr(startup, "measure", lambda words: (2.0, 1.0))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "startup", "--json", str(tmp_path / "out.json"), "--repeats=1"])
    main()
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["results"]["--help"] == {"seconds": 2.0, "cpu_seconds": 1.0, "cpu_over_imports": 1.0}
    assert found["command"].endswith(f"startup --out {tmp_path / 'out.json'} --repeats=1")


def test_an_unknown_benchmark_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="there is no benchmark 'speed'; choose from .*roofline"):
        main()


def test_an_operation_takes_as_long_as_the_slower_of_arithmetic_and_memory() -> None:
    assert seconds_allowed([Operation(100.0, 1.0), Operation(1.0, 50.0)], peak=100, bandwidth=10) == 1 + 5
