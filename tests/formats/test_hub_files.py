"""Names on the hub lead to files of a local cache, whose content is checked; nothing here uses a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from formats.errors import InputError
from formats.hub_files import local_file, local_folder, parse_hub_name
from tests.support.hub_cache import MAIN, OLDER, HubCache

REPOSITORY = "owner/net-1B"
NAME = f"hf://{REPOSITORY}/folder/model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    return HubCache(tmp_path / "hub", monkeypatch)


def test_local_paths_are_left_alone() -> None:
    assert local_file("a/b.pt") == Path("a/b.pt")
    assert local_folder("a/b", ["c"]) == Path("a/b")


def test_a_cached_file_is_found_by_branch_commit_and_hash(cache: HubCache) -> None:
    cache.add(REPOSITORY, "folder/model.safetensors", b"older", OLDER, "v1.0")
    cache.add(REPOSITORY, "folder/model.safetensors", b"newest")
    assert local_file(NAME).read_bytes() == b"newest"
    assert local_file(NAME).name == "model.safetensors"  # readers go by the suffix
    assert local_file(f"hf://{REPOSITORY}@v1.0/folder/model.safetensors").read_bytes() == b"older"
    assert local_file(f"hf://{REPOSITORY}@{OLDER}/folder/model.safetensors").read_bytes() == b"older"
    assert local_file(f"hf://{REPOSITORY}@{MAIN}/folder/model.safetensors").read_bytes() == b"newest"
    assert local_file(f"{NAME}#sha256={hashlib.sha256(b'newest').hexdigest()}").read_bytes() == b"newest"


def test_a_folder_is_found(cache: HubCache) -> None:
    for file in ("config.json", "weights"):
        cache.add(REPOSITORY, f"folder/{file}", file.encode())
    folder = local_folder(f"hf://{REPOSITORY}/folder", ["config.json", "weights"])
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "config.json": "config.json",
        "weights": "weights",
    }


def test_a_missing_file_without_a_network_is_one_line_with_the_remedy(cache: HubCache) -> None:
    with pytest.raises(InputError) as refused:
        local_file(f"hf://{REPOSITORY}@v1.0/model.safetensors")
    message = str(refused.value)
    assert "\n" not in message
    assert f"is not in the cache {cache.folder}, and HF_HUB_OFFLINE is set" in message
    assert f"`hf download {REPOSITORY} model.safetensors --revision v1.0`" in message
    assert "models--owner--net-1B" in message
    assert "name a local file" in message


def test_a_file_with_a_wrong_hash_is_refused(cache: HubCache) -> None:
    blob = cache.add(REPOSITORY, "folder/model.safetensors", b"content")
    with pytest.raises(InputError, match="not the expected one"):
        local_file(f"{NAME}#sha256={'0' * 64}")
    blob.write_bytes(b"damaged")
    with pytest.raises(InputError, match="is damaged in the cache"):
        local_file(NAME)


def test_small_files_are_checked_by_their_git_hash(cache: HubCache) -> None:
    blob = cache.add(REPOSITORY, "folder/model.safetensors", b"hello\n")
    pointer = local_file(NAME)
    pointer.unlink()
    named_by_git = blob.rename(blob.with_name("ce013625030ba8dba906f756967f9e9ca394464a"))  # git hash-object
    pointer.symlink_to(named_by_git)
    assert local_file(NAME).read_bytes() == b"hello\n"
    named_by_git.write_bytes(b"hallo\n")
    with pytest.raises(InputError, match="is damaged in the cache"):
        local_file(NAME)


@pytest.mark.parametrize(
    "name",
    [
        "hf://model.safetensors",
        "hf://owner/net/../../../etc/passwd",
        "hf://owner/../x/model.pt",
        "hf://owner/net@/model.pt",
        "hf://owner/net/model.pt#sha256=12",
        "hf://owner/net/a b.pt",
        "hf://owner/net",
    ],
)
def test_other_names_are_refused(name: str, cache: HubCache) -> None:
    with pytest.raises(InputError, match=r"Write hf://owner/repository/file"):
        local_file(name)


def test_licence_and_size_are_shown_once_before_the_download(
    cache: HubCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    class Api:
        def model_info(self, repository: str, revision: str, files_metadata: bool) -> SimpleNamespace:
            file = SimpleNamespace(rfilename="folder/model.safetensors", size=5_030_000_000)
            return SimpleNamespace(siblings=[file], tags=["pytorch", "license:cc-by-nc-4.0"], sha=MAIN)

    def download(repository: str, file: str, revision: str) -> str:
        shown.append(capsys.readouterr().out)
        cache.add(repository, file, b"content")
        return str(cache.folder / "models--owner--net-1B" / "snapshots" / MAIN / file)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert local_file(NAME).read_bytes() == b"content"
    assert local_file(NAME).read_bytes() == b"content"
    page = "https://huggingface.co/owner/net-1B"
    assert shown == [f"{NAME}: 5 GB, licence cc-by-nc-4.0, see {page}; downloading revision {MAIN}\n"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route"), r"cannot be downloaded \(no route\).*hf download owner/net-1B"),
        (ValueError("strange"), r"cannot be downloaded \(strange\)"),
    ],
)
def test_without_a_connection_the_error_says_what_to_do(
    error: Exception, message: str, cache: HubCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Api:
        def model_info(self, *_: object, **__: object) -> None:
            raise error

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    with pytest.raises(InputError, match=message):
        local_file(NAME)


def test_parts_of_a_name() -> None:
    name = parse_hub_name("hf://owner/net@v2/a/b.pt")
    assert (name.repository, name.revision, name.file, name.sha256) == ("owner/net", "v2", "a/b.pt", "")
    assert parse_hub_name("hf://owner/net/b.pt").revision == "main"
