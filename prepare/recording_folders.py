"""Folders of radar recordings: which user and split each file belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.spectrogram_folders import user_folders, user_numbers
from formats.baseband import RECORDINGS
from formats.errors import InputError

SPLITS = ("train", "val")
_LAYOUT = "Expected train/ID_<n>/*.npy with val/ID_<n>/*.npy, or a folder per user; files end in .npy, .npz or .mat."


@dataclass(frozen=True)
class Recording:
    """A file of a user.

    Args:
        path: The file.
        split: ``train`` or ``val``.
        user_id: Number of the user.
    """

    path: Path
    split: str
    user_id: int

    @property
    def image_stem(self) -> str:
        """Path of its images relative to the output folder, without number and suffix."""
        return f"{self.split}/ID_{self.user_id}/{self.path.stem}"


def find_recordings(root: Path, val_share: float, seed: int) -> list[Recording]:
    """List the recordings in the layout of the images, or in one folder per user.

    Folders of users are split by recording: at least one of each user's is for validation, chosen at random. A
    user's ID is the number at the end of the folder's name; where a name has none or two have the same, users are
    numbered from 1 in the order of their names.

    Args:
        root: Folder of the recordings.
        val_share: Share of each user's recordings for validation, where folders do not say.
        seed: Seed of that choice.

    Raises:
        InputError: There are no recordings, a split or a user has none, or two would have the same images.
    """
    if not root.is_dir():
        raise InputError(root, "no such folder", "Name the folder of the recordings with --recordings.")
    folders = {split: user_folders(root, split) for split in SPLITS}
    if any(folders.values()):
        found = [
            Recording(path, split, user) for split in SPLITS for user, own in folders[split] for path in _files(own)
        ]
        missing = [split for split in SPLITS if not any(recording.split == split for recording in found)]
        if missing:
            raise InputError(root, f"has no recordings in {missing[0]}/ID_<n>", _LAYOUT)
    else:
        found = _split_by_recording(root, val_share, seed)
    stems = [recording.image_stem for recording in found]
    for recording in found:
        if stems.count(recording.image_stem) > 1:
            fault = f"and another recording of the user are both called {recording.path.stem}"
            raise InputError(recording.path, fault, "Rename one of them.")
    return found


def _split_by_recording(root: Path, val_share: float, seed: int) -> list[Recording]:
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and _files(folder)]
    if not folders:
        raise InputError(root, "no recordings were found", _LAYOUT)
    found = []
    users = user_numbers([folder.name for folder in folders])
    for folder in folders:
        user = users[folder.name]
        files = _files(folder)
        if len(files) < 2:
            fault = "holds one recording, which cannot be both for training and for validation"
            remedy = "Record this user again, or cut the recording into two files that do not overlap."
            raise InputError(folder, fault, remedy)
        count = min(max(1, round(val_share * len(files))), len(files) - 1)
        chosen = np.random.default_rng([seed, user]).choice(len(files), count, replace=False)
        found += [Recording(path, SPLITS[place in chosen], user) for place, path in enumerate(files)]
    return sorted(found, key=lambda recording: (recording.split, recording.user_id, recording.path))


def _files(folder: Path) -> list[Path]:
    listed = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in RECORDINGS)
    return [path for path in listed if not path.name.startswith(".")]
