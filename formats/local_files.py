"""Local files named by a dataset: regular files that lie within their folder.

A name that comes out of a file (a table, an archive, a manifest) is not trusted: it may lead out of its folder, by
``..``, as an absolute path or through a symbolic link, or to a pipe or a device, which would be read for ever.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from dataclasses import MISSING, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml

from formats.errors import InputError

MAX_YAML_VALUES, MAX_YAML_DEPTH = 100_000, 64
Record = TypeVar("Record")


def is_within(name: str) -> bool:
    """Return whether a name, as text, stays within the folder that it is relative to.

    Example:
        >>> is_within("a/b.png"), is_within("../b.png"), is_within("/b.png")
        (True, False, False)
    """
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def path_within(root: str | Path, name: str, where: str | Path) -> Path:
    """Return the path of a file that another file names, for reading, writing or deleting it.

    Args:
        root: Folder that the name is relative to.
        name: Name or relative path out of a file.
        where: The file that holds the name, for errors.

    Raises:
        InputError: The name leads out of the folder: it is absolute, has a part ``..``, or passes a symbolic link
            to another place.
    """
    path = Path(root) / name
    if not is_within(name) or not _resolved(path).is_relative_to(_resolved_folder(Path(root))):
        fault = f"names {name!r}, which is not within {root}"
        raise InputError(where, fault, "Give names of files in that folder, without links that lead out of it.")
    return path


def _resolved(path: Path) -> Path:
    """Resolve links; folders are resolved once, since a dataset has many files in each."""
    try:
        return path.resolve() if path.is_symlink() else _resolved_folder(path.parent) / path.name
    except (OSError, RuntimeError, ValueError) as fault:  # links in a circle, or names that are too long
        raise InputError(path, f"cannot be followed: {fault}", "Repair or remove it.") from fault


@functools.lru_cache(maxsize=4096)
def _resolved_folder(path: Path) -> Path:
    return path.resolve()


def require_file(path: str | Path, remedy: str, missing: str = "no such file") -> Path:
    """Check that a path is a regular file, before it is opened.

    Args:
        path: The path; symbolic links are followed.
        remedy: Remedy suggested by errors.
        missing: Description of the fault where nothing is there.

    Raises:
        InputError: Nothing is there, or it is a folder, a pipe, a socket or a device.
    """
    path = Path(path)
    try:
        if path.is_file():
            return path
        fault = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else missing
    except (OSError, ValueError) as error:  # a name that is too long, or holds a null byte
        raise InputError(str(path), f"cannot be a file: {error}", remedy) from error
    raise InputError(path, fault, remedy)


def read_json(path: str | Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing, not a regular file, not UTF-8 or not JSON.
    """
    text = read_text(path, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"cannot be read as JSON: {error}", remedy) from error


def parse_yaml(text: str, where: str | Path, remedy: str) -> Any:
    """Parse YAML of plain values.

    Raises:
        InputError: It is not YAML, holds other objects, or grows beyond ``MAX_YAML_VALUES`` values through aliases: a
            list that is twice in the next, forty times, is a kilobyte of text and 10¹² values.
    """
    try:
        depth = 0  # before the content is built, which takes time that grows with the square of the depth
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_YAML_DEPTH:
                raise InputError(where, f"cannot be read as YAML: over {MAX_YAML_DEPTH} levels", remedy)
        content = yaml.safe_load(text)
    except InputError:
        raise
    except Exception as error:  # dates and numbers raise errors of their own
        reason = " ".join(str(error).split())
        raise InputError(where, f"cannot be read as YAML: {reason}", remedy) from error
    pending, values = [(content, 0)], 0
    while pending:
        value, depth = pending.pop()
        values += 1
        if values > MAX_YAML_VALUES or depth > MAX_YAML_DEPTH:
            raise InputError(where, f"cannot be read as YAML: over {MAX_YAML_VALUES} values, or too deep", remedy)
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
        pending += [(part, depth + 1) for part in parts]
    return content


def read_yaml(path: str | Path, remedy: str) -> Any:
    """Read a YAML file; errors as for :func:`parse_yaml`, or it is missing, not a regular file or not UTF-8."""
    return parse_yaml(read_text(path, remedy), path, remedy)


def read_text(path: str | Path, remedy: str) -> str:
    """Read a UTF-8 text.

    Raises:
        InputError: It is missing, not a regular file or not UTF-8.
    """
    try:
        return require_file(path, remedy).read_text(encoding="utf-8")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read: {error}", remedy) from error


def read_csv(path: str | Path, remedy: str) -> list[dict[str, str | None]]:
    """Read the rows of a CSV file with a header; missing cells are None.

    Raises:
        InputError: As for :func:`read_text`, or it is not CSV.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_text(path, remedy), newline=""), restkey="")
        return [{name: value for name, value in row.items() if name} for row in rows]
    except csv.Error as error:
        raise InputError(path, f"cannot be read as CSV: {error}", remedy) from error


def read_record(kind: type[Record], path: str | Path, remedy: str) -> Record:
    """Read a JSON file that holds the fields of a dataclass of strings, numbers and plain mappings.

    Fields with a default may be missing.

    Raises:
        InputError: As for :func:`read_json`, or a field is missing, unknown or of another type.
    """
    content, hints = read_json_object(path, remedy), get_type_hints(kind)
    content = {part.name: part.default for part in fields(cast(Any, kind)) if part.default is not MISSING} | content
    if content.keys() != hints.keys():
        differing = ", ".join(sorted(content.keys() ^ hints.keys()))
        raise InputError(path, f"is broken: it must hold {', '.join(hints)}, and differs in {differing}", remedy)
    for name, hint in hints.items():
        if not _has_type(content[name], hint):
            raise InputError(path, f"is broken: {name} is {content[name]!r:.80}", remedy)
    return kind(**content)


def _has_type(value: Any, hint: Any) -> bool:
    if get_origin(hint) is dict:
        key, part = get_args(hint)
        return isinstance(value, dict) and all(_has_type(k, key) and _has_type(v, part) for k, v in value.items())
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    return isinstance(value, hint) and isinstance(value, bool) == (hint is bool)


def read_json_object(path: str | Path, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: As for :func:`read_json`, or it holds something else.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        raise InputError(path, "does not hold a JSON object", remedy)
    return content
