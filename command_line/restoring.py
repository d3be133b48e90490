"""Faults of a checkpoint that only show when Lightning restores it, as one line that names the file.

Lightning 2.6 restores weights, optimisers, loops and callbacks in its checkpoint connector, and raises whatever the
content causes: a missing key, weights of another shape, an optimiser of other parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from formats.errors import InputError

CONNECTOR = "lightning.pytorch.trainer.connectors.checkpoint_connector"


@contextmanager
def explained_restoring(path: str | None) -> Iterator[None]:
    """Raise faults that occur while a checkpoint is restored as InputError; others pass.

    Args:
        path: The checkpoint; None if none is restored.

    Raises:
        InputError: The checkpoint does not fit the model or the trainer.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as fault:
        if path is None or not _passes(fault.__traceback__, CONNECTOR):
            raise
        reason = " ".join(str(fault).split())[:300] or type(fault).__name__
        remedy = "Use a checkpoint of the same module and network, or leave --ckpt_path out."
        raise InputError(path, f"does not fit this command ({type(fault).__name__}: {reason})", remedy) from fault


def _passes(traceback: TracebackType | None, module: str) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == module:
            return True
        traceback = traceback.tb_next
    return False
