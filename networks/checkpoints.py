"""Load and write published checkpoints, with every tensor accounted for.

A network declares the published names of its tensors (:class:`PublishedNetwork`); this module compares names,
shapes and fixed tables, fills the network, and writes the published naming back.

Example::

    >>> from networks.vggt import PRESETS, VGGT
    >>> network, other = VGGT(PRESETS["tiny"]), VGGT(PRESETS["tiny"])
    >>> report = load_published(network, to_published(other))  # or the path of a file
    >>> report.missing, report.unexpected
    ([], [])
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from formats.errors import InputError
from networks.checkpoint_files import extract_state_dict, read_state_dict

MAX_NAMES_SHOWN = 8  # in messages
# Largest difference of a fixed table, relative to its largest value, that counts as rounding. The published training
# code of LightningDiT averages its position table along with the weights: in float32, with decay 0.9999, rounding
# moves it by up to 1.7e-4 within 10,000 steps and no further.
TABLE_TOLERANCE = 1e-3


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _as_tuple(tensor: Tensor) -> tuple[Tensor | None, ...]:
    return (tensor,)


@dataclass(frozen=True)
class PublishedTensor:
    """Maps one tensor of a network to the tensors of the published file.

    Two entries may share a source: the entry that does not write it gives ``None`` in its place.

    Args:
        ours: Name in the network's ``state_dict()``.
        sources: Names of the published tensors that it is made from.
        read: Converts the sources' tensors, in their order, to ours. The identity by default.
        write: Converts ours to one tensor per source, ``None`` where another entry writes that source. Must also
            work on the meta device, where it gives the published shapes.
    """

    ours: str
    sources: tuple[str, ...]
    read: Callable[..., Tensor] = _identity
    write: Callable[[Tensor], tuple[Tensor | None, ...]] = _as_tuple


class PublishedNetwork(Protocol):
    """An ``nn.Module`` that declares how published checkpoints load into it.

    Attributes:
        published_dropped: Regular expression of whole published names → the reason they are not used.
        published_computed: Regular expressions of fixed tables that published files hold and the network computes
            itself (under the same name; non-persistent buffers included).
        published_restartable: Published names whose first size may differ, such as a label table for another
            number of classes. They keep the network's own start values, and are reported.
    """

    @property
    def published_dropped(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def published_computed(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def published_restartable(self) -> tuple[str, ...]: ...  # noqa: D102
    def published_tensors(self) -> Iterable[PublishedTensor]:
        """Return one entry for each tensor of ``state_dict()``; entries of computed tensors are skipped."""
        ...

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def named_buffers(self) -> Iterator[tuple[str, Tensor]]: ...  # noqa: D102
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> Any: ...  # noqa: D102


def same_names(network: torch.nn.Module) -> list[PublishedTensor]:
    """Declare every tensor of ``network`` under its own name: for networks that keep the published naming."""
    return [PublishedTensor(name, (name,)) for name in network.state_dict()]


class ShapePair(NamedTuple):
    """A published name, its shape in the file, and the shape this network has for it."""

    name: str
    file: tuple[int, ...]
    network: tuple[int, ...]

    def differs_in_first_size_only(self) -> bool:
        """Return whether all sizes but the first are equal."""
        return len(self.file) == len(self.network) and self.file[1:] == self.network[1:]

    def __str__(self) -> str:
        return f"{self.name} ({_size(self.file)} in the file, {_size(self.network)} in the network)"


class TableDifference(NamedTuple):
    """A fixed table whose values in the file are not those the network computes."""

    name: str
    largest_difference: float
    largest_value: float

    def __str__(self) -> str:
        return f"{self.name} (by up to {self.largest_difference:.3g}; its largest value is {self.largest_value:.3g})"


@dataclass
class LoadReport:
    """Use of each tensor of a published file. Names are the published ones unless noted otherwise.

    Each name of the file is in exactly one of ``loaded``, ``computed``, ``not_compared``, ``tables_from_file``,
    ``differing``, ``dropped``, ``restarted``, ``mismatched``, ``unusable``, ``unexpected``.

    Attributes:
        loaded: Tensors now in the network.
        renamed: (published name, our name) of those with another name here, one pair for each use.
        computed: Fixed tables whose values in the file are those that the network computes, within rounding.
        not_compared: Fixed tables that have no values on one of the two sides, which is on the meta device.
        tables_from_file: Fixed tables taken from the file.
        differing: Fixed tables whose values differ from those that the network computes.
        dropped: Not used → the reason.
        restarted: Tensors that keep the network's start values, since their first size differs.
        missing: Required by the network, but not in the file.
        mismatched: In the file with another shape.
        unusable: Tensors that are not finite, or not dense numbers of the network's kind, with the reason.
        unexpected: In the file, but not known to the network.
        left_to_compute: Fixed tables that are not in the file; not a fault where the file has none at all.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    tables_from_file: list[str] = field(default_factory=list)
    differing: list[TableDifference] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    restarted: list[ShapePair] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[ShapePair] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_to_compute: list[str] = field(default_factory=list)

    def faults(self) -> str:
        """Describe in one clause what keeps the file from being loaded; empty when nothing does."""
        groups: tuple[tuple[str, Sequence[object]], ...] = (
            ("missing", self.missing),
            ("of another shape", self.mismatched),
            ("that cannot be weights", self.unusable),
            ("with values other than the network computes", self.differing),
            ("unexpected", self.unexpected),
        )
        return "; ".join(f"{len(names)} {what}: {_shortened(names)}" for what, names in groups if names)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        if self.renamed:
            lines[0] += f", {len({published for published, _ in self.renamed})} of them under another name"
        groups = (
            ("computed by the network, as in the file", self.computed),
            ("computed by the network, not compared with the file", self.not_compared),
            ("taken from the file, not computed", self.tables_from_file),
            ("computed by the network, not in the file", self.left_to_compute),
        )
        lines += [f"{len(names)} {what}: {_shortened(names)}" for what, names in groups if names]
        lines += [f"{count} dropped: {reason}" for reason, count in Counter(self.dropped.values()).items()]
        lines += [f"starts from new values: {pair}" for pair in self.restarted]
        if faults := self.faults():
            lines.append(faults)
        return "\n".join(lines)


def load_published(
    network: PublishedNetwork,
    source: str | Path | Mapping[str, Any],
    where: str | Path | None = None,
    tables_from_file: bool = False,
    check: Callable[[LoadReport], None] | None = None,
) -> LoadReport:
    """Fill ``network`` from a published checkpoint; on an error it is unchanged.

    Values are cast to the network's dtypes. A network on the meta device adopts copies of the file's tensors; computed
    and restarted tensors stay on meta, and the caller has to create them.

    Args:
        network: The network to fill, in place.
        source: A file that :func:`networks.checkpoint_files.read_state_dict` reads, or a state dict in the
            published naming, nested and prefixed as in such files.
        where: Name of the source in errors; the path itself by default.
        tables_from_file: Take fixed tables, such as position embeddings, from the file and do not compare them.
            Only persistent buffers are taken, as others would be computed again wherever the network is rebuilt.
        check: Called with the report before anything is loaded; it may raise to refuse the file.

    Returns:
        What was done with each tensor.

    Raises:
        InputError: The file cannot be read; a tensor is missing, unexpected, of another shape, sparse, quantised, of
            another kind of number or not finite; or a fixed table differs from what the network computes by more than
            ``TABLE_TOLERANCE`` of its largest value.
    """
    if isinstance(source, str | Path):
        where = where or source
        state = read_state_dict(source)
    else:
        where = where or f"state dict for {type(network).__name__}"
        state = extract_state_dict(source, where)
    report = _compare(network, state, tables_from_file)
    if faults := report.faults():
        remedy = f"Name a checkpoint of this {type(network).__name__}, or build it as it was built for the checkpoint."
        if any(difference.name in network.state_dict() for difference in report.differing):
            remedy += " load_published(…, tables_from_file=True) uses the file's tables."
        raise InputError(where, faults, remedy)
    if check is not None:
        check(report)
    _fill(network, state, report)
    return report


def to_published(network: PublishedNetwork) -> dict[str, Tensor]:
    """Return the network's tensors in the published naming, including those that it computes itself.

    What :func:`load_published` drops on purpose is absent. Values may share memory with the network's.
    """
    own = network.state_dict()
    return _published(network, own) | _computed(network)


def _compare(network: PublishedNetwork, state: Mapping[str, Tensor], tables_from_file: bool) -> LoadReport:
    """Sort the names of file and network into a report; nothing is loaded yet."""
    report = LoadReport()
    own = network.state_dict()
    computed = _computed(network)
    # On meta, writing costs nothing and gives each published tensor's shape.
    expected = _published(network, {name: tensor.to("meta") for name, tensor in own.items()})
    for name, tensor in expected.items():
        if name not in state:
            report.missing.append(name)
            continue
        pair = ShapePair(name, tuple(state[name].shape), tuple(tensor.shape))
        if pair.file == pair.network:
            _enter(report.loaded, name, state[name], tensor, report)
        elif name in network.published_restartable and pair.differs_in_first_size_only():
            report.restarted.append(pair)
        else:
            report.mismatched.append(pair)
    for name in state:
        if name in expected:
            continue
        # Only what *this* network computes: rotary tables are unexpected if it has no rotary embedding.
        if name in computed:
            _compare_table(name, state[name], computed[name], tables_from_file and name in own, report)
        elif reason := _matching(network.published_dropped, name):
            report.dropped[name] = network.published_dropped[reason]
        else:
            report.unexpected.append(name)
    # A file that holds some computed tensors holds all of its network's: if one is missing, the network is another.
    absent = [name for name in computed if name not in state]
    (report.missing if len(absent) < len(computed) else report.left_to_compute).extend(absent)
    entries = [entry for entry in network.published_tensors() if entry.ours not in computed]
    report.missing += sorted(own.keys() - computed.keys() - {entry.ours for entry in entries})
    loaded = set(report.loaded)
    report.renamed = [(s, e.ours) for e in entries for s in e.sources if s != e.ours and s in loaded]
    return report


def _compare_table(name: str, file: Tensor, network: Tensor, take: bool, report: LoadReport) -> None:
    """Enter a fixed table into ``report``, and note it as taken from the file if ``take`` is set."""
    if file.shape != network.shape:
        report.mismatched.append(ShapePair(name, tuple(file.shape), tuple(network.shape)))
    elif take or _kind_fault(file, network):
        _enter(report.tables_from_file, name, file, network, report)
    elif file.is_meta or network.is_meta:
        report.not_compared.append(name)
    else:
        ours = network.detach().cpu().double()
        difference = (file.detach().cpu().double() - ours).abs().max().item() if ours.numel() else 0.0
        largest = ours.abs().max().item() if ours.numel() else 0.0
        rounding = max(torch.finfo(t.dtype).eps if t.is_floating_point() else 0.0 for t in (file, network))
        # Written so that a NaN in the file counts as a difference.
        if difference <= (TABLE_TOLERANCE + rounding) * largest:
            report.computed.append(name)
        else:
            report.differing.append(TableDifference(name, difference, largest))


def _enter(names: list[str], name: str, file: Tensor, network: Tensor, report: LoadReport) -> None:
    """Add a tensor to ``names`` if it can be used, and to those that cannot otherwise."""
    if fault := _kind_fault(file, network) or _value_fault(file):
        report.unusable.append(f"{name} ({fault})")
    else:
        names.append(name)


def _kind_fault(file: Tensor, network: Tensor) -> str:
    """Describe why a tensor of the file cannot be cast to one of the network; empty if it can."""
    if file.layout != torch.strided or file.is_quantized:
        return "quantised" if file.is_quantized else "sparse"
    if file.dtype != network.dtype and not (file.is_floating_point() and network.is_floating_point()):
        return f"{str(file.dtype).removeprefix('torch.')}, not {str(network.dtype).removeprefix('torch.')}"
    return ""


def _value_fault(tensor: Tensor) -> str:
    """Describe values that are not finite, read in parts, since a tensor may be mapped from a large file."""
    if tensor.is_meta or not tensor.is_floating_point():
        return ""
    for part in tensor.detach().reshape(-1).split(2**24):
        if not bool(part.float().isfinite().all()):
            return "has NaN" if bool(part.float().isnan().any()) else "has infinite values"
    return ""


def _fill(network: PublishedNetwork, state: Mapping[str, Tensor], report: LoadReport) -> None:
    """Copy the values of the file into the network, except what is computed or restarted."""
    own, computed = network.state_dict(), _computed(network)
    restarted = {pair.name for pair in report.restarted}
    values = {name: state[name] for name in report.tables_from_file}
    for entry in network.published_tensors():
        if entry.ours not in computed and restarted.isdisjoint(entry.sources):
            values[entry.ours] = entry.read(*(state[source] for source in entry.sources))
    copied = {name: value for name, value in values.items() if not own[name].is_meta}
    # Copies, so that the network does not depend on a mapped file or on the caller's tensors.
    assigned = {n: value.to(own[n].dtype, copy=True) for n, value in values.items() if own[n].is_meta}
    network.load_state_dict(copied, strict=False, assign=False)
    network.load_state_dict(assigned, strict=False, assign=True)


def _published(network: PublishedNetwork, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert ``own`` (our names) to the published names, without what the network computes."""
    computed, published = _computed(network), {}
    for entry in network.published_tensors():
        if entry.ours not in computed:
            for name, value in zip(entry.sources, entry.write(own[entry.ours]), strict=True):
                if value is not None:
                    published[name] = value
    return published


def _computed(network: PublishedNetwork) -> dict[str, Tensor]:
    """Return the fixed tables of the network that published files hold too."""
    tensors = dict(network.named_buffers()) | network.state_dict()
    return {name: t.detach() for name, t in tensors.items() if _matching(network.published_computed, name)}


def _matching(patterns: Iterable[str], name: str) -> str | None:
    return next((pattern for pattern in patterns if re.fullmatch(pattern, name)), None)


def _shortened(names: Iterable[object]) -> str:
    texts = [str(name) for name in names]
    rest = len(texts) - MAX_NAMES_SHOWN
    return ", ".join(texts[:MAX_NAMES_SHOWN]) + (f" … and {rest} more" if rest > 0 else "")


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
