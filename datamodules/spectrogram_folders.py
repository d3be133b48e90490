"""Which user and split each image of a folder belongs to: the published layout, or a folder of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from formats.errors import InputError
from formats.images import SUFFIXES
from formats.local_files import is_within, read_csv

USER_FOLDER = re.compile(r"ID[_-]?0*(\d+)$", re.IGNORECASE)
NUMBER_AT_END = re.compile(r"[_\-. ]?\d+$")
SPLITS = ("train", "val")
TRAIN_SHARE = 0.8
MAPPING = "users.csv"
LAYOUT = (
    f"Expected <split>/ID_<n>/*.png or ID_<n>/<split>/*.png with the splits train and val, a folder per user, or "
    f"{MAPPING} with the columns file and user."
)


@dataclass(frozen=True)
class SpectrogramFile:
    """An image file and its user."""

    path: Path
    user_id: int


@dataclass(frozen=True)
class SpectrogramFolder:
    """Images of a folder.

    Attributes:
        files: Images of each split, by user and name.
        names: ID of each user, where users have names rather than IDs.
        how: How the splits were made, where no folders say.
    """

    files: dict[str, list[SpectrogramFile]]
    names: dict[str, int] = field(default_factory=dict)
    how: str = ""


def read_folder(root: Path, train_share: float = TRAIN_SHARE, splits: Sequence[str] = SPLITS) -> SpectrogramFolder:
    """List the images of a folder.

    Users are folders ``ID_<n>`` in ``train`` and ``val`` or around them; or folders of any name, such as ``alice``; or
    as ``users.csv`` says, with the columns ``file``, ``user`` and possibly ``split``. Named users are numbered. Where
    nothing says which images are for training, each user's are split: by recording where the names of images are those
    of recordings with numbers (``walk1_001.png``), otherwise the first ones in the order of names are for training.

    Args:
        root: The folder.
        train_share: Share of each user's recordings or images for training, where they are split here.
        splits: Names of the splits, where there are others than train and val.

    Raises:
        InputError: ``users.csv`` is broken, or a user has too few images.
    """
    if (root / MAPPING).is_file():
        return _from_mapping(root, train_share)
    by_split = {
        split: [(name, images_of(folder)) for name, folder in split_folders(root, split)]
        for split in dict.fromkeys((*SPLITS, *splits))
    }
    is_split = any(images for folders in by_split.values() for _, images in folders)
    if not is_split:
        others = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and folder.name not in by_split]
        by_split = {"": [(folder.name, images_of(folder)) for folder in others]}
    every = [(name, images) for folders in by_split.values() for name, images in folders if images]
    if any(USER_FOLDER.match(name) for name, _ in every):  # other folders are none of users
        numbers = {name: int(match[1]) for name, _ in every if (match := USER_FOLDER.match(name))}
        names = dict[str, int]()
    else:
        names = numbers = user_numbers(sorted({name for name, _ in every}))
    known = {
        split: [SpectrogramFile(path, numbers[name]) for name, images in folders if name in numbers for path in images]
        for split, folders in by_split.items()
    }
    if is_split:
        return SpectrogramFolder({split: _in_order(files) for split, files in known.items()}, names)
    files, how = _split(known[""], train_share)
    return SpectrogramFolder(files, names, how)


def split_folders(root: Path, split: str) -> list[tuple[str, Path]]:
    """List the names of users with their folders ``<split>/<user>/`` or ``<user>/<split>/``."""
    folders = [*root.glob(f"{split}/*"), *root.glob(f"*/{split}")]
    named = [(folder.name if folder.parent.name == split else folder.parent.name, folder) for folder in folders]
    return [(name, folder) for name, folder in named if folder.is_dir()]


def user_folders(root: Path, split: str) -> list[tuple[int, Path]]:
    """List the user IDs and folders ``<split>/ID_<n>/`` or ``ID_<n>/<split>/``, by ID."""
    matches = [(USER_FOLDER.match(name), folder) for name, folder in split_folders(root, split)]
    return sorted((int(match[1]), folder) for match, folder in matches if match)


def images_of(folder: Path) -> list[Path]:
    """List the images in a folder by name."""
    if not folder.is_dir():
        return []
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in paths if not path.name.startswith("."))


def user_numbers(names: Sequence[str]) -> dict[str, int]:
    """Number users by the numbers at the end of their names; from 1 in this order if these are missing or repeat.

    Example:
        >>> user_numbers(["person03", "person10"]), user_numbers(["alice", "bob"])
        ({'person03': 3, 'person10': 10}, {'alice': 1, 'bob': 2})
    """
    numbers = [int(match[1]) for name in names if (match := re.search(r"(\d{1,9})$", name))]
    return dict(zip(names, numbers if len(set(numbers)) == len(names) else range(1, len(names) + 1), strict=True))


def _from_mapping(root: Path, train_share: float) -> SpectrogramFolder:
    table, remedy = root / MAPPING, "Give the columns file and user, and possibly split with train or val."
    rows = read_csv(table, remedy)
    entries: list[tuple[Path, str, str]] = []
    for row in rows:
        name, user, split = ((row.get(key) or "").strip() for key in ("file", "user", "split"))
        if not name or not user:
            raise InputError(table, "has a row without file or user", remedy)
        if not is_within(name) or not (root / name).is_file():
            raise InputError(table, f"names '{name}', which is not a file in this folder", remedy)
        entries.append((root / name, user, split))
    splits = {split for _, _, split in entries}
    if not entries or (splits != {""} and "" in splits):
        raise InputError(table, "names no files" if not entries else "gives a split to some files only", remedy)
    users = sorted({user for _, user, _ in entries})
    are_numbers = all(user.isdecimal() for user in users)
    numbers = {user: int(user) for user in users} if are_numbers else user_numbers(users)
    names = {} if are_numbers else numbers
    if splits == {""}:
        files, how = _split([SpectrogramFile(path, numbers[user]) for path, user, _ in entries], train_share)
        return SpectrogramFolder(files, names, how)
    files = {
        part: _in_order(SpectrogramFile(path, numbers[user]) for path, user, split in entries if split == part)
        for part in sorted(splits)
    }
    return SpectrogramFolder(files, names)


def _recording(file: SpectrogramFile) -> Path:
    """Return the path of an image without the number at its end, which images of one recording share."""
    return file.path.with_name(NUMBER_AT_END.sub("", file.path.stem) or "_")


def _in_order(files: Iterable[SpectrogramFile]) -> list[SpectrogramFile]:
    return sorted(files, key=lambda file: (file.user_id, file.path))


def _split(files: list[SpectrogramFile], train_share: float) -> tuple[dict[str, list[SpectrogramFile]], str]:
    """Split each user's images, and say how."""
    parts: dict[str, list[SpectrogramFile]] = {split: [] for split in SPLITS}
    by_recording = bool(files)
    for user, grouped in groupby(_in_order(files), lambda file: file.user_id):
        own = list(grouped)
        if len(own) < 2:
            fault = f"user {user} has one image, which cannot be both for training and for validation"
            raise InputError(own[0].path.parent, fault, "Add images of this user, or take the folder out.")
        recordings = [list(part) for _, part in groupby(own, _recording)]
        if not 1 < len(recordings) < len(own):  # one name for all, or another one for each
            recordings, by_recording = [[file] for file in own], False
        count = min(max(1, round(train_share * len(recordings))), len(recordings) - 1)
        for place, recording in enumerate(recordings):
            parts["train" if place < count else "val"] += recording
    unit = "recording" if by_recording else "image"
    return parts, f"split by {unit}, {train_share:g} of each user's for training"
