"""Published files by name on the Hugging Face hub: ``hf://owner/repository@revision/file``.

A file is downloaded once, after its licence and size are shown, and read from the hub's local cache from then on,
without the network. ``HF_HUB_OFFLINE=1`` forbids the network altogether, and ``HF_HOME`` moves the cache. Without
``@revision`` the branch ``main`` is meant, as it was at the first download.

The content is compared with its hash whenever a process first uses the file: the cache names large files by their
SHA-256 and small ones by their Git hash. ``#sha256=…`` at the end of a name asks for one certain content.

Example::

    local_file("hf://facebook/VGGT-1B/model.safetensors")  # a path in ~/.cache/huggingface/hub
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from formats.errors import InputError
from formats.local_files import is_within
from formats.optional import require_package

PREFIX = "hf://"
FORM = f"Write {PREFIX}owner/repository/file, or {PREFIX}owner/repository@revision/file."
NAME = re.compile(
    r"hf://(?P<repository>\w[\w.\-]*/\w[\w.\-]*)(?:@(?P<revision>\w[\w.\-]*))?(?:/(?P<file>[^#?\s]+))?"
    r"(?:#sha256=(?P<sha256>[0-9a-f]{64}))?"
)
HASHES = {40: "git", 64: "sha256"}  # by their number of digits


@dataclass(frozen=True)
class HubName:
    """Parts of a name on the hub.

    Attributes:
        repository: Owner and name.
        revision: Branch, tag or commit.
        file: Path of the file or folder in the repository; empty for all of it.
        sha256: Expected SHA-256 of the file; empty where the name states none.

    Example:
        >>> parse_hub_name("hf://facebook/VGGT-1B@v1.0/model.safetensors")
        HubName(repository='facebook/VGGT-1B', revision='v1.0', file='model.safetensors', sha256='')
    """

    repository: str
    revision: str
    file: str
    sha256: str

    @property
    def page(self) -> str:
        """Address of the repository's page."""
        return f"https://huggingface.co/{self.repository}"


def is_hub_name(name: object) -> bool:
    """Return whether a name means something on the hub rather than a local path."""
    return isinstance(name, str) and name.startswith(PREFIX)


def parse_hub_name(name: str) -> HubName:
    """Split a name that begins with ``hf://``.

    Raises:
        InputError: It is not of the right form.
    """
    match = NAME.fullmatch(name)
    file = (match["file"] or "").rstrip("/") if match else ""
    if match is None or (file and not is_within(file)):
        raise InputError(name, "is not the name of a file on the Hugging Face hub", FORM)
    return HubName(match["repository"], match["revision"] or "main", file, match["sha256"] or "")


def local_file(name: str | Path) -> Path:
    """Return the path of a file; one that is named ``hf://…`` is downloaded unless the cache holds it.

    Args:
        name: Local path, which is returned as it is, or name on the hub.

    Raises:
        InputError: The name is not of the right form; the file is not in the cache and cannot be downloaded; or its
            content does not have its hash.
    """
    if not is_hub_name(name):
        return Path(name)
    parts = parse_hub_name(str(name))
    if not parts.file:
        raise InputError(str(name), "names a repository without a file", FORM)
    path = cached_file(parts) or _download(str(name), parts)
    _check_hash(str(name), path, parts.sha256)
    return path


def local_folder(name: str | Path, files: Sequence[str]) -> Path:
    """Return a folder; of one that is named ``hf://…``, the files are downloaded unless the cache holds them.

    Args:
        name: Local path, which is returned as it is, or name on the hub of a repository or a folder in it.
        files: Names of files in the folder, at least one.

    Raises:
        InputError: As for :func:`local_file`.
    """
    if not is_hub_name(name):
        return Path(name)
    folders = {local_file(f"{str(name).rstrip('/')}/{file}").parent for file in files}
    if len(folders) > 1:  # the branch moved between two downloads
        fault = "is in the cache in parts, of several revisions"
        raise InputError(str(name), fault, f"Name one of them: {PREFIX}owner/repository@revision.")
    return folders.pop()


def cached_file(parts: HubName) -> Path | None:
    """Return the path of a file in the cache, or None; the network is not used."""
    require_package("huggingface_hub")
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(parts.repository, parts.file, revision=parts.revision)
    return Path(found) if isinstance(found, str) else None


def _download(name: str, parts: HubName) -> Path:
    """Show licence and size of a file, and download it to the cache."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    if constants.is_offline_mode():
        _refuse(name, parts, "HF_HUB_OFFLINE is set")
    try:
        info = HfApi().model_info(parts.repository, revision=parts.revision, files_metadata=True)
        size = next((file.size for file in info.siblings or [] if file.rfilename == parts.file), None)
        licences = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
        about = f"{size / 1e9:.2g} GB, " if size else ""
        licence = f"licence {licences[0]}" if licences else "its licence is not stated"
        print(f"{name}: {about}{licence}, see {parts.page}; downloading revision {info.sha}", flush=True)
        return Path(hf_hub_download(parts.repository, parts.file, revision=parts.revision))
    except Exception as error:  # of the network, of the hub or of the name
        _explain(name, parts, error)


def _explain(name: str, parts: HubName, error: Exception) -> NoReturn:
    """Raise an error that says what to do about a failed download."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        remedy = f"Accept its licence on {parts.page}, then sign in with `hf auth login`."
        raise InputError(name, "is given only to users who accept its licence", remedy) from error
    if isinstance(error, RevisionNotFoundError):
        raise InputError(name, f"{parts.repository} has no revision {parts.revision}", FORM) from error
    if isinstance(error, RemoteEntryNotFoundError):
        raise InputError(name, f"{parts.repository} has no file {parts.file}", f"See {parts.page}.") from error
    if isinstance(error, RepositoryNotFoundError):
        fault = f"there is no repository {parts.repository}, or it is private"
        raise InputError(name, fault, "Correct the name, or sign in with `hf auth login`.") from error
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, LocalEntryNotFoundError):
        raise error  # a full disk, or a folder that cannot be written
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    _refuse(name, parts, f"it cannot be downloaded ({reason})", error)


def _refuse(name: str, parts: HubName, reason: str, error: Exception | None = None) -> NoReturn:
    from huggingface_hub import constants

    revision = "" if parts.revision == "main" else f" --revision {parts.revision}"
    remedy = (
        f"Where there is a network, run `hf download {parts.repository} {parts.file}{revision}` and copy the folder "
        f"models--{parts.repository.replace('/', '--')} of its cache to this one, or name a local file."
    )
    raise InputError(name, f"is not in the cache {constants.HF_HUB_CACHE}, and {reason}", remedy) from error


def _check_hash(name: str, path: Path, expected: str) -> None:
    """Compare the content of a file with the hash that is its name in the cache, and with an expected one."""
    blob = path.resolve()
    status = blob.stat()
    key = (status.st_size, status.st_mtime_ns)
    kind = HASHES.get(len(blob.name)) if re.fullmatch("[0-9a-f]+", blob.name) else None
    if kind is not None and _hash(blob, kind, *key) != blob.name:
        raise InputError(name, f"is damaged in the cache: {blob} does not have its hash", "Delete that file.")
    if expected and (found := _hash(blob, "sha256", *key)) != expected:
        remedy = "Correct the name, or name the revision that has this content."
        raise InputError(name, f"has the SHA-256 {found}, not the expected one", remedy)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, kind: str, size: int, time_ns: int) -> str:
    """Return the SHA-256 of a file, or its hash in Git; size and time are only keys."""
    with path.open("rb") as file:
        if kind == "sha256":
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while block := file.read(2**20):
            digest.update(block)
        return digest.hexdigest()
