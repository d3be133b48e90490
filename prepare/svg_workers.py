"""Processes that convert SVG files and can be stopped at any point: in time, in memory and when they crash.

A worker handles many files, one at a time, since starting one takes longer than most files do. Nothing but the system's
own limits stops a renderer in the middle of a file, hence processes and not threads; they are started afresh and not
forked, since the program around them runs threads.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

START_SECONDS = 120.0
WALL_CLOCK_FACTOR = 20.0  # of the CPU time that a file may take
FILES_PER_WORKER = 2000  # then a new one: what a process has freed does not always leave it


@dataclass(frozen=True)
class Conversion:
    """One file to convert.

    Attributes:
        source: The SVG file.
        out: Folder of the prepared data.
        category: Of the drawing.
        name: Of the drawing, distinct within its category.
        size: Longer side in pixels.
        min_alpha: Paint of this alpha or less covers nothing.
    """

    source: str
    out: str
    category: str
    name: str
    size: int
    min_alpha: float


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        status: ``converted``, ``refused`` or, where nothing was tried, ``skipped``.
        reason: Why it was refused: a name out of a small set.
        detail: What it was in this file.
        layers: Elements that can be seen.
        width: In pixels.
        height: In pixels.
        seconds: What it took.
    """

    status: str
    reason: str = ""
    detail: str = ""
    layers: int = 0
    width: int = 0
    height: int = 0
    seconds: float = 0.0


def convert_files(
    conversions: Iterable[Conversion], num_workers: int, seconds_per_file: float, memory_per_file_gb: float
) -> Iterator[tuple[Conversion, Outcome]]:
    """Convert files in ``num_workers`` processes and yield each one's outcome when it is there, in any order.

    A file that takes too long or too much memory, or that crashes its worker, is refused, and the others go on.

    Args:
        conversions: The files.
        num_workers: Processes at a time.
        seconds_per_file: CPU time after which a worker is killed, so that the load of the machine does not decide
            which files are refused. It is killed after ``WALL_CLOCK_FACTOR`` times as long on the clock, too, should
            it wait for something that never comes.
        memory_per_file_gb: Address space of a worker, in 10⁹ bytes; about 0.2 of it are the worker's own.

    Raises:
        RuntimeError: A worker could not be started.
        OSError: A worker could not write its files.
    """
    pending = deque(conversions)
    workers: list[_Worker] = []
    selector = selectors.DefaultSelector()
    try:
        while pending or workers:
            while pending and len(workers) < num_workers:
                worker = _Worker(memory_per_file_gb, seconds_per_file)
                workers.append(worker)
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            now = time.monotonic()
            wait = max(0.0, min(worker.deadline for worker in workers) - now)
            ready = {key.data for key, _ in selector.select(wait)}
            for worker in list(workers):
                if worker not in ready and time.monotonic() < worker.deadline:
                    continue
                conversion, outcome = worker.collect(is_overdue=worker not in ready)
                if conversion and outcome:
                    if outcome.reason == "too much memory" and worker.handled > 1:
                        pending.appendleft(conversion)  # perhaps it is what the files before have left behind
                    else:
                        yield conversion, outcome
                if worker.is_spent or not pending:
                    selector.unregister(worker.answers)
                    worker.stop()
                    workers.remove(worker)
                else:
                    worker.give(pending.popleft())
    finally:
        for worker in workers:
            worker.stop()
        selector.close()


class _Worker:
    """The parent's end of one process."""

    def __init__(self, memory_gb: float, seconds: float) -> None:
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        settings = {"PYTHONPATH": path, "RUST_BACKTRACE": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        command = [sys.executable, "-P", "-m", "prepare.svg_workers", str(int(memory_gb * 1e9)), str(seconds)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=os.environ | settings
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.questions, self.answers = self.process.stdin, self.process.stdout
        self.seconds = seconds
        self.conversion: Conversion | None = None
        self.handled, self.is_spent = 0, False
        self.started = time.monotonic()
        self.deadline = self.started + START_SECONDS  # it says when it has begun

    def give(self, conversion: Conversion) -> None:
        """Let it begin a file."""
        self.conversion, self.handled = conversion, self.handled + 1
        self.started = time.monotonic()
        self.deadline = self.started + WALL_CLOCK_FACTOR * self.seconds
        with suppress(BrokenPipeError):  # it died between two files: `collect` finds out
            self.questions.write(json.dumps(asdict(conversion)).encode() + b"\n")
            self.questions.flush()

    def collect(self, is_overdue: bool) -> tuple[Conversion | None, Outcome | None]:
        """The file it was at, and what became of it; kills it when it is overdue."""
        conversion, self.conversion = self.conversion, None
        answer: dict[str, Any] | None = None
        if not is_overdue:
            line = self.answers.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
        if answer is None:
            self.is_spent = True
            self.process.kill()
            self.process.wait()
            if conversion is None:
                raise RuntimeError(f"a worker did not start: {self._last_words()}")
            _remove_unfinished(conversion, self.process.pid)
            return conversion, self._refusal(is_overdue)
        self.is_spent = self.handled >= FILES_PER_WORKER
        if "fault" in answer:
            raise OSError(answer["fault"])
        self.is_spent |= answer.get("reason") == "too much memory"
        return conversion, Outcome(**answer) if conversion else None

    def _refusal(self, is_overdue: bool) -> Outcome:
        seconds = round(time.monotonic() - self.started, 3)
        words, code = self._last_words(), self.process.returncode
        if code == -signal.SIGPROF:
            return Outcome("refused", "too slow", f"more than {self.seconds:g} s of CPU time", seconds=seconds)
        if is_overdue or code == -signal.SIGALRM:
            limit = WALL_CLOCK_FACTOR * self.seconds
            return Outcome("refused", "too slow", f"more than {limit:g} s on the clock", seconds=seconds)
        if "memory allocation" in words or "MemoryError" in words:
            return Outcome("refused", "too much memory", words, seconds=seconds)
        return Outcome("refused", "renderer crashed", words or f"exit status {code}", seconds=seconds)

    def _last_words(self) -> str:
        """The line of its error output that says most: one on memory, else the first of the last few."""
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 100_000))
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "memory allocation" in line or "MemoryError" in line or "panicked" in line]
        return (telling[-1:] or lines[-5:] or [""])[0][:200]

    def stop(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        if self.conversion:
            _remove_unfinished(self.conversion, self.process.pid)
        for pipe in (self.questions, self.answers, self.errors):
            with suppress(BrokenPipeError):  # a question that it did not live to read
                pipe.close()


def _remove_unfinished(conversion: Conversion, pid: int) -> None:
    """Remove the temporary files of a worker that was killed while writing."""
    for kind in ("images", "orders"):
        folder = Path(conversion.out) / kind / conversion.category
        (folder / f".{conversion.name}.{pid}.partial.png").unlink(missing_ok=True)


def _work(memory: int, seconds: float) -> None:
    """The worker's life: a line of JSON in is a file, a line out what became of it."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the renderer prints is no answer
    import formats.svg.paint_order  # noqa: F401 - before the memory is limited, and before the clock runs

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        # Should the parent die, nobody else would stop this process; the default action of the alarm does.
        signal.setitimer(signal.ITIMER_REAL, WALL_CLOCK_FACTOR * seconds + 5)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU time of this process; its default action ends it, too
        try:
            answer = asdict(convert(Conversion(**json.loads(line))))
        except OSError as fault:
            answer = {"fault": str(fault)}
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers, flush=True)


def convert(conversion: Conversion) -> Outcome:
    """Convert one file in this process.

    Raises:
        OSError: The pair could not be written.
    """
    from formats.atomic import atomic_path
    from formats.images import write_png
    from formats.layered_art.pairs import layer_pair
    from formats.svg.document import SvgRefusedError
    from formats.svg.paint_order import draw_svg

    start = time.perf_counter()
    try:
        drawn = draw_svg(conversion.source, conversion.size, conversion.min_alpha)
        orders = drawn.orders
    except SvgRefusedError as refusal:
        return _refused(refusal.reason, refusal.detail, start)
    except MemoryError:
        return _refused("too much memory", "", start)
    except RecursionError:
        return _refused("nested too deeply", "", start)
    except BaseException as fault:  # a panic of the renderer, which is no Exception
        if type(fault).__name__ != "PanicException":
            raise
        return _refused("renderer crashed", str(fault)[:200], start)
    files = layer_pair(conversion.out, conversion.category, conversion.name)
    write_png(files.orders, orders)  # the image last: a sample is there when its image is
    with atomic_path(files.image) as temporary:
        temporary.write_bytes(drawn.png)  # decoding and encoding it again would take a sixth of the time
    height, width = orders.shape
    seconds = round(time.perf_counter() - start, 4)
    return Outcome("converted", layers=int(orders.max()), width=width, height=height, seconds=seconds)


def _refused(reason: str, detail: str, start: float) -> Outcome:
    return Outcome("refused", reason, detail, seconds=round(time.perf_counter() - start, 4))


if __name__ == "__main__":
    _work(int(sys.argv[1]), float(sys.argv[2]))
