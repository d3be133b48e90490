"""Mutations of files, and how a reader takes them."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from formats.errors import InputError

SECONDS_PER_READ = 20
TOKENS = (
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b'"x"',
    b"[]",
    b"{}",
    b"9" * 5000,
    b"[" * 2000,
    b"\xff\xfe",
    b"\0",
)
VALUE = re.compile(rb'"[^"]*"|-?\d+(?:\.\d+)?|true|false|null|(?<=: )[^\n,}\]]+')  # of JSON and YAML
WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000)


@dataclass(frozen=True)
class Reader:
    """A reader of the project with a valid file.

    Args:
        name: Name in reports.
        write: Writes the file, or the folder that the file is in, and returns the file to be damaged.
        read: Reads the file and returns its content.
        exact: Whether a damaged file may only be read with its old content, since it has checksums.
        share: Number of mutations, relative to the others; slow readers get fewer.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    exact: bool = False
    share: float = 1.0


@dataclass
class Outcomes:
    """Counts of the outcomes of one reader.

    Attributes:
        counts: ``same`` content, ``other`` content, ``refused`` by InputError.
        failures: Anything else: number of the mutation and what happened.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def mutate(content: bytes, seed: int) -> bytes:
    """Damage a file: bytes, blocks, 32-bit words, its end, or pieces of text; equal seeds give equal damage."""
    rng = np.random.default_rng(seed)
    data, size = bytearray(content), len(content)
    kind = seed % 10
    at = int(rng.integers(size)) if rng.random() < 0.6 else int(rng.integers(min(size, 256)))
    if kind <= 2:
        for place in rng.integers(size, size=1 + int(rng.integers(8))).tolist():
            data[place] = int(rng.integers(256))
    elif kind == 3:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 4:
        data = data[: int(rng.integers(size))]
    elif kind == 5:
        length = 1 + int(rng.integers(64))
        data[at : at + length] = bytes(length)
    elif kind == 6:
        del data[at : at + 1 + int(rng.integers(64))]
    elif kind == 7:
        data[at:at] = data[at : at + 1 + int(rng.integers(64))]
    elif kind == 8 and not content.isascii():
        data[at : at + 4] = int(WORDS[int(rng.integers(len(WORDS)))]).to_bytes(
            4, "little" if rng.random() < 0.5 else "big"
        )
    else:
        token, values = TOKENS[int(rng.integers(len(TOKENS)))], list(VALUE.finditer(content))
        if values and content.isascii():  # another value where one was, so that the text stays well-formed
            value = values[int(rng.integers(len(values)))]
            return content[: value.start()] + token + content[value.end() :]
        data[at : at + int(rng.integers(1, 12))] = token
    return bytes(data)


def same(one: Any, other: Any) -> bool:
    """Return whether two contents are equal, in values and types of arrays; NaN equals NaN."""
    if isinstance(one, Tensor):
        if not isinstance(other, Tensor) or one.dtype != other.dtype or one.shape != other.shape:
            return False
        return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.shape == other.shape and one.tolist() == other.tolist()
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class _OverdueError(BaseException):
    """A read that takes too long; not an Exception, so that no reader catches it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def overdue(number: int, frame: FrameType | None) -> None:
        raise _OverdueError

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(reader: Reader, path: Path, folder: Path, original: Any, label: str, outcomes: Outcomes) -> None:
    """Read a damaged file and count the outcome."""
    try:
        with _time_limit(SECONDS_PER_READ):
            content = reader.read(path)
            kind = "same" if same(original, content) else "other"
    except InputError as refusal:
        if "\n" in str(refusal) or str(folder) not in str(refusal):
            outcomes.failures.append(f"{label}: the message does not name the file: {refusal}")
        else:
            outcomes.counts["refused"] += 1
        return
    except _OverdueError:
        outcomes.failures.append(f"{label}: over {SECONDS_PER_READ} s")
        return
    except BaseException as fault:
        if isinstance(fault, KeyboardInterrupt):
            raise
        outcomes.failures.append(f"{label}: {type(fault).__name__}: {str(fault)[:200]}")
        return
    if kind == "other" and reader.exact:
        outcomes.failures.append(f"{label}: read with other content")
    else:
        outcomes.counts[kind] += 1


def try_mutations(reader: Reader, folder: Path, seeds: range, log: Path | None = None) -> Outcomes:
    """Damage a reader's file once per seed and read it.

    Args:
        reader: The reader.
        folder: An empty folder.
        seeds: Seeds of the damage.
        log: File that names the mutation in work, for the case that the interpreter crashes.
    """
    path = reader.write(folder)
    whole, original = path.read_bytes(), reader.read(path)
    outcomes = Outcomes()
    for seed in seeds:
        if log:
            log.write_text(f"{reader.name} {seed}")
        path.write_bytes(mutate(whole, seed))
        stamp = 1_700_000_000_000_000_000 + seed  # distinct, as the times of files written one after another
        os.utime(path, ns=(stamp, stamp))
        attempt(reader, path, folder, original, f"{reader.name} {seed}", outcomes)
    path.write_bytes(whole)
    assert same(original, reader.read(path)), f"{reader.name}: the whole file is read no more"
    return outcomes
