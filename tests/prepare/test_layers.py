"""Converting a folder of SVG files to layer pairs."""

from __future__ import annotations

import base64
import csv
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.errors import InputError
from formats.layered_art.pairs import layer_pair, read_layer_pair
from prepare.layers import category_and_name, layers
from prepare.svg_workers import Conversion, Outcome, convert_files

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
GOOD = f'<svg {NAMESPACES} width="8" height="4"><rect width="4" height="4"/><rect x="2" width="4" height="4"/></svg>'
# Fifty filters over a plane far larger than the canvas
SLOW = f"""<svg {NAMESPACES} width="64" height="64"><filter id="f" filterUnits="userSpaceOnUse" x="-9000" y="-9000"
width="18000" height="18000"><feGaussianBlur stdDeviation="40"/><feMorphology radius="30"/></filter>
{'<rect width="64" height="64" filter="url(#f)"/>' * 50}</svg>"""


def decompression_bomb(side: int = 20_000) -> str:
    """A drawing with a PNG of a few kilobytes that takes 1.6 · 10⁹ bytes when decoded."""
    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")).decode()
    image = f'<image width="8" height="8" xlink:href="data:image/png;base64,{png}"/>'
    return f'<svg {NAMESPACES} width="8" height="8">{image}</svg>'


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(path.name + ".svg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def report(out: Path) -> dict[str, dict[str, str]]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_a_folder_becomes_pairs_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(
        source,
        animals__cats__tom=GOOD,
        animals__dog=GOOD,
        top=GOOD,
        animals__empty=f"<svg {NAMESPACES}/>",
        broken="<svg",
    )
    (source / "plants").mkdir()
    (source / "plants" / "dog.svg").symlink_to("../animals/dog.svg")
    (source / "gone.svg").symlink_to("nowhere.svg")
    layers(str(source), str(out), size=32, num_workers=2)
    rows = report(out)
    assert {path: (row["status"], row["reason"]) for path, row in rows.items()} == {
        "animals/cats/tom.svg": ("converted", ""),
        "animals/dog.svg": ("converted", ""),
        "animals/empty.svg": ("refused", "empty drawing"),
        "broken.svg": ("refused", "broken XML"),
        "gone.svg": ("refused", "unreadable file"),
        "plants/dog.svg": ("skipped", "symbolic link"),
        "top.svg": ("converted", ""),
    }
    assert [rows["top.svg"][name] for name in ("layers", "width", "height")] == ["2", "32", "16"]
    for category, name in (("animals", "cats--tom"), ("animals", "dog"), ("all", "top")):
        image, orders = read_layer_pair(layer_pair(out, category, name))
        assert image.shape == (16, 32, 3)
        assert np.array_equal(orders, np.tile(np.repeat([1, 2, 0], [8, 16, 8]), (16, 1)))
    assert len(list(out.rglob("*.png"))) == 6
    printed = capsys.readouterr().out
    assert "3 converted, 3 refused, 1 symbolic links skipped" in printed
    assert "refused: empty drawing: 1" in printed


def test_a_file_that_takes_too_long_is_refused_and_the_others_continue(tmp_path: Path) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(source, a=GOOD, b=SLOW, c=GOOD, d=GOOD)
    layers(str(source), str(out), size=64, num_workers=1, seconds_per_file=0.5)
    rows = report(out)
    assert [rows[f"{name}.svg"]["status"] for name in "abcd"] == ["converted", "refused", "converted", "converted"]
    assert rows["b.svg"]["reason"] == "too slow"
    assert not [path for path in out.rglob("*") if "partial" in path.name]


@pytest.mark.slow
def test_a_file_that_takes_too_much_memory_is_refused_and_the_others_continue(tmp_path: Path) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(source, a=GOOD, b=decompression_bomb(), c=GOOD)
    layers(str(source), str(out), size=64, num_workers=1, memory_per_file_gb=1.0)
    rows = report(out)
    assert rows["b.svg"]["reason"] == "too much memory"
    assert rows["a.svg"]["status"] == rows["c.svg"]["status"] == "converted"


def test_a_second_run_converts_only_what_is_new_changed_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(source, a=GOOD, b=GOOD, c="<svg", d=GOOD)
    layers(str(source), str(out), size=32, num_workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    write(source, c=GOOD, e=GOOD)
    layer_pair(out, "all", "b").orders.unlink()
    (source / "d.svg").write_text("<svg", encoding="utf-8")
    os.utime(source / "d.svg", (2e9, 2e9))
    layers(str(source), str(out), size=32, num_workers=1)
    rows = report(out)
    assert [rows[f"{name}.svg"]["status"] for name in "abcde"] == [*["converted"] * 3, "refused", "converted"]
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    kept = {path.stem for path in before if after.get(path) == before[path]}
    assert kept == {"a"}
    assert not layer_pair(out, "all", "d").image.exists()  # made from the earlier file
    assert "(1 already up to date)" in capsys.readouterr().out


def test_an_interrupted_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(source, a=GOOD, b=GOOD, c=GOOD)

    def stops_after_one(conversions: Iterable[Conversion], *limits: Any) -> Iterator[tuple[Conversion, Outcome]]:
        yield from list(convert_files(list(conversions)[:1], *limits))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("prepare.layers.convert_files", stops_after_one)
        with pytest.raises(KeyboardInterrupt):
            layers(str(source), str(out), size=32, num_workers=1)
    assert [row["status"] for row in report(out).values()] == ["converted"]
    time = layer_pair(out, "all", "a").image.stat().st_mtime_ns
    layers(str(source), str(out), size=32, num_workers=1)
    assert len(report(out)) == 3
    assert layer_pair(out, "all", "a").image.stat().st_mtime_ns == time


@pytest.mark.parametrize("change", [{"size": 48}, {"svg_dir": "other"}])
def test_the_folder_of_a_run_with_other_settings_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "art", a=GOOD)
    write(tmp_path / "other", a=GOOD)
    settings: dict[str, Any] = {"svg_dir": "art", "out": "pairs", "size": 32, "num_workers": 1}
    layers(**settings)
    with pytest.raises(InputError, match="made with other settings"):
        layers(**settings | change)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"svg_dir": "absent"}, "no such folder"),
        ({"svg_dir": "bare"}, "no .svg or .svgz file was found in it"),
        ({"out": "art"}, "is not a dataset of this tool"),
        ({"size": 3}, "3 is out of range"),
        ({"num_workers": -1}, "-1 is out of range"),
        ({"seconds_per_file": 0}, "0 is out of range"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: dict[str, Any], fault: str) -> None:
    write(tmp_path / "art", a=GOOD)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=fault):
        layers(**({"svg_dir": "art", "out": "pairs"} | arguments))


def test_names_are_distinct_and_depend_only_on_the_path() -> None:
    files = [
        "a/b/c.svg",
        "a/b--c.svg",
        "a/b-/c.svg",
        "a/b/-c.svg",
        "a/b/c.svgz",
        "a/b/c.SVG",
        "a/bc.svg",
        "b/bc.svg",
        "bc.svg",
    ]
    files += [f"a/{'ü' * 200}{end}.svg" for end in "xy"]
    names = [category_and_name(file) for file in files]
    assert len(set(names)) == len(files)
    assert names[0] == ("a", "b--c")
    assert names[8] == ("all", "bc")
    assert all(len(name.encode()) < 200 for _, name in names)


def test_unusual_names_and_links_appear_in_the_report(tmp_path: Path) -> None:
    """A folder named like the category of files without one, a name that is not UTF-8, a link to itself."""
    write(tmp_path / "svg", **{"a": GOOD, "all/a": GOOD, ".hidden/b": GOOD})
    (tmp_path / "svg" / "loop.svg").symlink_to("loop.svg")
    odd = os.fsencode(tmp_path / "svg") + b"/b\xff.svg"
    with open(odd, "w") as file:  # noqa: PTH123
        file.write(GOOD)
    layers(str(tmp_path / "svg"), str(tmp_path / "out"), size=32, num_workers=1)
    rows = report(tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.svg": "converted",
        "all/a.svg": "converted",
        "b\\udcff.svg": "converted",
        "loop.svg": "refused",
    }
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 3


@pytest.mark.slow
def test_the_pair_of_a_deleted_file_is_removed(tmp_path: Path) -> None:
    write(tmp_path / "svg", **{"x/a": GOOD, "x/b": GOOD})
    layers(str(tmp_path / "svg"), str(tmp_path / "out"), size=32, num_workers=1)
    (tmp_path / "svg" / "x" / "b.svg").unlink()
    layers(str(tmp_path / "svg"), str(tmp_path / "out"), size=32, num_workers=1)
    assert [path.name for path in sorted((tmp_path / "out").rglob("*.png"))] == ["a.png", "a.png"]
    assert list(report(tmp_path / "out")) == ["x/a.svg"]


@pytest.mark.parametrize("name", ["../photo.svg", "/victim.svg"])
def test_a_foreign_report_deletes_nothing_outside(tmp_path: Path, name: str) -> None:
    """A downloaded folder of pairs with a report whose rows name files elsewhere."""
    source, out = tmp_path / "art", tmp_path / "data" / "pairs"
    write(source, drawing=GOOD)
    layers(str(source), str(out), size=32, num_workers=1)
    victims = [tmp_path / "data" / "photo.png", out / "photo.png", tmp_path / "photo.png", out / "images" / "photo.png"]
    for victim in victims:
        victim.touch()
    with (out / "report.csv").open("a", newline="") as file:
        file.write(f"{name},converted,,,2,32,16,0.1,0\n")
    layers(str(source), str(out), size=32, num_workers=1)
    assert all(victim.exists() for victim in victims)
    assert set(report(out)) == {"drawing.svg"}


def test_a_pair_behind_a_link_is_not_deleted(tmp_path: Path) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    write(source, c__drawing=GOOD)
    layers(str(source), str(out), size=32, num_workers=1)
    (out / "images" / "old").symlink_to(tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with (out / "report.csv").open("a", newline="") as file:
        file.write("old/a.svg,converted,,,2,32,16,0.1,0\n")
    with pytest.raises(InputError, match=r"old/a\.png', which is not within"):
        layers(str(source), str(out), size=32, num_workers=1)
    assert (tmp_path / "photos" / "a.png").exists()
