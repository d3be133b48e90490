"""Signals that ask a training run to stop, kept until the step at hand is complete."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

# Before and after training `exit_with_message` of command_line/main.py handles SIGTERM and SIGHUP.
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)  # Slurm's, where Lightning handles one of them


class StopSignals:
    """Records the first signal; a second Ctrl-C stops at once.

    Lightning acts within the handler or not at all: it saves in the middle of a step on Slurm's signal, and ends
    without saving on SIGTERM. Its handler of Slurm's signal is called by :meth:`requeue` once the step is complete.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take over the signals; only the main thread can."""
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (*STOP, *REQUEUE):
            handler = signal.getsignal(number)
            is_unused = number in REQUEUE and not callable(handler)
            if handler is not signal.SIG_IGN and not is_unused:  # nohup ignores SIGHUP
                self._before[number] = handler
                signal.signal(number, self._record)

    def remove(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def requeue(self, number: signal.Signals) -> None:
        """Save and requeue the job as Lightning does."""
        self._before[number](number, None)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is signal.SIGINT:
            self.received = None
            raise KeyboardInterrupt
        if self.received is None:
            self.received = signal.Signals(number)
