"""Damaged files of torch are refused, and never read as the bytes of a neighbour."""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from formats import torch_files
from formats.errors import InputError
from formats.torch_files import first_undamaged, read_torch, storage_sizes, tensors_in
from formats.training_checkpoint import read_training_checkpoint
from networks.checkpoint_files import read_state_dict

REMEDY = "Write it again."
TENSORS = {f"layer{number}": torch.full((5, 3 + number), float(number)) for number in range(3)}


def write(path: Path) -> Path:
    torch.save({"state_dict": TENSORS, "epoch": 1, "half": torch.ones(3, dtype=torch.bfloat16)}, path)
    return path


def damaged_archive(path: Path, rng: np.random.Generator) -> str:
    """Write an archive with right checksums in which one storage is emptied, cut, longer, missing or compressed."""
    whole = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist()]
    storages = [
        place for place, (info, _) in enumerate(records) if "/data/" in info.filename and "." not in info.filename
    ]
    chosen = int(rng.choice(storages))
    how = str(rng.choice(["emptied", "cut", "longer", "missing", "compressed", "twice"]))
    with zipfile.ZipFile(path, "w") as archive:
        for place, (info, content) in enumerate(records):
            kind = zipfile.ZIP_STORED
            if place == chosen:
                if how == "missing":
                    continue
                content = {
                    "emptied": b"",
                    "cut": content[: int(rng.integers(len(content)))],
                    "longer": content + bytes(int(rng.integers(1, 9))),
                }.get(how, content)
                kind = zipfile.ZIP_DEFLATED if how == "compressed" else kind
            archive.writestr(info.filename, content, kind)
            if place == chosen and how == "twice":
                archive.filelist[-1].filename, name = info.filename, archive.filelist[-1].filename
                archive.NameToInfo.pop(name)
                archive.writestr(info.filename, bytes(len(content)), kind)
                archive.filelist[-1].filename = info.filename
    return how


def damaged_byte(path: Path, rng: np.random.Generator) -> str:
    """Change one byte anywhere in the file."""
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))
    return f"byte {place}"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "read", [read_state_dict, pytest.param(read_training_checkpoint, marks=[pytest.mark.slow, pytest.mark.faults])]
)
def test_no_inner_damage_gives_other_values(tmp_path: Path, read: Any) -> None:
    """150 archives with a wrong record, and 150 with a wrong byte, for each of the two readers."""
    accepted = []
    for number in range(300):
        path, rng = write(tmp_path / f"{number}.ckpt"), np.random.default_rng(number)
        what = damaged_archive(path, rng) if number % 2 else damaged_byte(path, rng)
        try:
            content = read(path)
        except InputError:
            continue
        tensors = content.get("state_dict", content)
        if number % 2 or not all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items()):
            accepted.append(f"{number}: {what}")
        path.unlink()
    assert accepted == []


def test_a_file_is_verified_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = write(tmp_path / "a.pt"), list[int]()

    def counted(content: bytes) -> dict[str, int]:
        calls.append(len(content))
        return storage_sizes(content)

    monkeypatch.setattr(torch_files, "storage_sizes", counted)
    for _ in range(3):
        read_torch(path, REMEDY)
    assert len(calls) == 1
    content = bytearray(path.read_bytes())
    place = content.index(TENSORS["layer2"].numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a\.pt: is damaged: the record .* cannot be read"):
        read_torch(path, REMEDY)


def test_all_kinds_of_tensors_are_read(tmp_path: Path) -> None:
    kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
    kinds += [torch.complex64, torch.float8_e4m3fn, torch.uint16, torch.int8]
    tensors = {str(kind): torch.ones(3).to(kind) for kind in kinds}
    base = torch.arange(12.0)
    tensors |= {
        "view": base[2:5],
        "transposed": base.view(3, 4).T,
        "empty": torch.zeros(0),
        "scalar": torch.tensor(1.5),
    }
    content = {"tensors": tensors, "arguments": argparse.Namespace(rate=0.1), "parameter": torch.nn.Parameter(base)}
    torch.save(content, tmp_path / "a.pt")
    found = read_torch(tmp_path / "a.pt", REMEDY)
    assert found["arguments"] == content["arguments"]
    assert all(str(found["tensors"][name].tolist()) == str(tensor.tolist()) for name, tensor in tensors.items())


def test_a_tensor_larger_than_its_data_is_refused(tmp_path: Path) -> None:
    torch.save({"a": [torch.zeros(1).expand(10**12)]}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: holds a tensor a\.0 that is larger than its data"):
        read_torch(tmp_path / "a.pt", REMEDY)


def test_tensors_are_found_once_in_shared_lists() -> None:
    shared: list[Any] = [torch.ones(1)]
    for _ in range(40):
        shared = [shared, shared]
    assert [name for name, _ in tensors_in({"a": shared})] == [".".join(["a", *["1"] * 40, "0"])]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"state_dict": [1]}, "is not a training checkpoint"),
        ({"state_dict": {"a": 1}}, "'a' of its weights is a int"),
        ({"epoch": "one"}, "epoch is a str"),
        ({"optimizer_states": {}}, "optimizer_states is a dict"),
        ({"hyper_parameters": {"a": torch.ones(1)}}, "settings that are not plain"),
        ({"hyper_parameters": {3: 1}}, "settings that are not plain"),
        ({"hyper_parameters": {"_instantiator": "os.system"}}, "'os.system' to build its module"),
        ({"hyper_parameters": {"_class_path": 3}}, "not a string"),
    ],
)
def test_other_files_are_not_training_checkpoints(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    content: dict[str, Any] = {"state_dict": {"a": Tensor([1])}, "epoch": 1, "hyper_parameters": {"rate": 0.1}}
    torch.save(content, tmp_path / "a.ckpt")
    assert read_training_checkpoint(tmp_path / "a.ckpt")["epoch"] == 1
    torch.save(content | change, tmp_path / "b.ckpt")
    with pytest.raises(InputError, match=rf"b\.ckpt: .*{fault}"):
        read_training_checkpoint(tmp_path / "b.ckpt")


def test_the_first_undamaged_file_is_found(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / name)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:300])
    assert first_undamaged([tmp_path / name for name in "abc"]) == (tmp_path / "b", [tmp_path / "a"])
    assert first_undamaged([tmp_path / "a"]) == (None, [tmp_path / "a"])
