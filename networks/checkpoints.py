"""Published checkpoints in and out of the networks of this library, with every tensor accounted for.

A network says how its tensors are called in the published file (:class:`PublishedNetwork`); this module
compares names and shapes, fills the network, and writes the published naming back::

    network = LightningDiT.from_preset("XL/1", num_classes=1000)
    print(load_published(network, "lightningdit-xl-imagenet256-800ep.pt"))
    torch.save({"ema": to_published(network)}, "for_the_published_code.pt")
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from formats.errors import InputError
from networks.checkpoint_files import read_state_dict, unwrapped

NAMES_SHOWN = 8  # in a list of names for a person


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _alone(tensor: Tensor) -> tuple[Tensor | None, ...]:
    return (tensor,)


@dataclass(frozen=True)
class PublishedTensor:
    """How one tensor of a network stands in the published file.

    Two entries may share a source: the one that does not write it gives ``None`` in its place.

    Args:
        ours: Name in the network's ``state_dict()``.
        sources: The published tensors it is made of.
        read: From the sources' tensors, in their order, to ours. A copy by default.
        write: From ours to one tensor per source, ``None`` where another entry writes that source. Must also
            work on the meta device: the published shapes are found by it.
    """

    ours: str
    sources: tuple[str, ...]
    read: Callable[..., Tensor] = _itself
    write: Callable[[Tensor], tuple[Tensor | None, ...]] = _alone


class PublishedNetwork(Protocol):
    """What a network declares so that published checkpoints load into it, beside being an ``nn.Module``.

    Attributes:
        published_dropped: Regular expression of whole published names → why the network has no use for them.
        published_computed: Regular expressions of tensors that published files hold and the network computes
            itself (under the same name, buffers that are not persistent included).
        published_restartable: Published names that may differ in their first size, as a label table of
            another number of classes does. They keep the network's own start values, and are reported.
    """

    @property
    def published_dropped(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def published_computed(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def published_restartable(self) -> tuple[str, ...]: ...  # noqa: D102
    def published_tensors(self) -> Iterable[PublishedTensor]:
        """One entry for each tensor of ``state_dict()``; entries of computed tensors are passed over."""
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
        """Say whether all sizes but the first are equal."""
        return len(self.file) == len(self.network) and self.file[1:] == self.network[1:]

    def __str__(self) -> str:
        return f"{self.name} ({_size(self.file)} in the file, {_size(self.network)} in the network)"


@dataclass
class LoadReport:
    """What became of each tensor of a published file. Names are the published ones unless said otherwise.

    Each name of the file stands in one of ``loaded``, ``computed``, ``dropped``, ``restarted``,
    ``mismatched``, ``unexpected``.

    Attributes:
        loaded: Tensors now in the network.
        renamed: (published name, our name) of those with another name here, a pair for each use.
        computed: In the file, but computed by the network.
        dropped: In the file, of no use here → the reason.
        restarted: Start anew here, as the first size differs.
        missing: Wanted by the network, not in the file.
        mismatched: In the file with another shape.
        unexpected: In the file, and nothing explains them.
        left_to_compute: Computed by the network and not in the file; no fault where the file has none at all.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    restarted: list[ShapePair] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[ShapePair] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_to_compute: list[str] = field(default_factory=list)

    def faults(self) -> str:
        """Say in one clause what is missing, of another shape or left over; empty when nothing is."""
        groups = (
            ("missing", self.missing),
            ("of another shape", self.mismatched),
            ("left over", self.unexpected),
        )
        return "; ".join(f"{len(names)} {what}: {_shortened(names)}" for what, names in groups if names)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        if self.renamed:
            lines[0] += f", {len({published for published, _ in self.renamed})} of them under another name"
        if self.computed:
            lines.append(f"{len(self.computed)} computed by the network: {_shortened(self.computed)}")
        if self.left_to_compute:
            lines.append(f"not in the file, computed by the network: {_shortened(self.left_to_compute)}")
        lines += [f"{count} dropped: {reason}" for reason, count in Counter(self.dropped.values()).items()]
        lines += [f"starts anew: {pair}" for pair in self.restarted]
        if faults := self.faults():
            lines.append(faults)
        return "\n".join(lines)


def load_published(
    network: PublishedNetwork, source: str | Path | Mapping[str, Any], where: str | Path | None = None
) -> LoadReport:
    """Fill ``network`` from a published checkpoint, all of it or (on an error) nothing of it.

    Values are cast to the network's dtypes. A network on the meta device takes the file's tensors as its own;
    what is computed or restarted stays on meta there, and is the caller's to make.

    Args:
        network: The network to fill, in place.
        source: A file (:func:`networks.checkpoint_files.read_state_dict` says which), or a state dict in the
            published naming, nested and prefixed as in such files.
        where: What errors call the source; the path itself by default.

    Returns:
        What became of each tensor.

    Raises:
        InputError: The file cannot be read, or a tensor is missing, of another shape, or unexplained.
    """
    if isinstance(source, str | Path):
        where = where or source
        state = read_state_dict(source)
    else:
        where = where or f"state dict for {type(network).__name__}"
        state = unwrapped(source, where)
    report = _compared(network, state)
    if faults := report.faults():
        remedy = f"Name a checkpoint of this {type(network).__name__}, or build it as the checkpoint's was built."
        raise InputError(where, faults, remedy)
    _fill(network, state, report)
    return report


def to_published(network: PublishedNetwork) -> dict[str, Tensor]:
    """Give the network's tensors in the published naming, those included that it computes itself.

    What :func:`load_published` drops on purpose is absent. Values may share memory with the network's.
    """
    own = network.state_dict()
    return _published(network, own) | _computed(network)


def _compared(network: PublishedNetwork, state: Mapping[str, Tensor]) -> LoadReport:
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
            report.loaded.append(name)
        elif name in network.published_restartable and pair.differs_in_first_size_only():
            report.restarted.append(pair)
        else:
            report.mismatched.append(pair)
    for name in state:
        if name in expected:
            continue
        # Only what *this* network computes: the rotary tables are left over where it has no rotary.
        if name in computed:
            report.computed.append(name)
        elif reason := _matching(network.published_dropped, name):
            report.dropped[name] = network.published_dropped[reason]
        else:
            report.unexpected.append(name)
    # A file that holds some computed tensors holds all that its network had: one less is another network.
    absent = [name for name in computed if name not in state]
    (report.missing if report.computed else report.left_to_compute).extend(absent)
    entries = [entry for entry in network.published_tensors() if entry.ours not in computed]
    report.missing += sorted(own.keys() - computed.keys() - {entry.ours for entry in entries})
    here = set(report.loaded)
    report.renamed = [(s, e.ours) for e in entries for s in e.sources if s != e.ours and s in here]
    return report


def _fill(network: PublishedNetwork, state: Mapping[str, Tensor], report: LoadReport) -> None:
    """Put the values of the file into the network, without what is computed or starts anew."""
    own, computed = network.state_dict(), _computed(network)
    restarted = {pair.name for pair in report.restarted}
    copied: dict[str, Tensor] = {}
    assigned: dict[str, Tensor] = {}
    for entry in network.published_tensors():
        if entry.ours in computed or not restarted.isdisjoint(entry.sources):
            continue
        value, target = entry.read(*(state[source] for source in entry.sources)), own[entry.ours]
        if target.is_meta:  # a copy: the network must not hang on a mapped file or the caller's tensors
            assigned[entry.ours] = value.to(target.dtype, copy=True)
        else:
            copied[entry.ours] = value
    network.load_state_dict(copied, strict=False, assign=False)
    network.load_state_dict(assigned, strict=False, assign=True)


def _published(network: PublishedNetwork, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Write ``own`` (our names) under the published names, without what the network computes."""
    computed, published = _computed(network), {}
    for entry in network.published_tensors():
        if entry.ours not in computed:
            for name, value in zip(entry.sources, entry.write(own[entry.ours]), strict=True):
                if value is not None:
                    published[name] = value
    return published


def _computed(network: PublishedNetwork) -> dict[str, Tensor]:
    """Give the tensors of the network that published files hold too, though nothing is learned in them."""
    tensors = dict(network.named_buffers()) | network.state_dict()
    return {name: t.detach() for name, t in tensors.items() if _matching(network.published_computed, name)}


def _matching(patterns: Iterable[str], name: str) -> str | None:
    return next((pattern for pattern in patterns if re.fullmatch(pattern, name)), None)


def _shortened(names: Iterable[object]) -> str:
    texts = [str(name) for name in names]
    rest = len(texts) - NAMES_SHOWN
    return ", ".join(texts[:NAMES_SHOWN]) + (f" … and {rest} more" if rest > 0 else "")


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
