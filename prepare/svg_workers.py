"""Worker processes that convert SVG files within limits of time and memory, and survive crashes of the renderer.

A worker handles many files, one at a time, since starting one takes longer than most files do. Only the system's own
limits can stop a renderer in the middle of a file, hence processes and not threads; they are spawned rather than
forked, since the parent process runs threads.
"""

from __future__ import annotations

import colorsys
import hashlib
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

import numpy as np
from numpy.typing import NDArray

from formats.atomic import temporary_path
from formats.errors import InputError

START_SECONDS = 120.0
WALL_CLOCK_FACTOR = 20.0  # limit on the clock, in units of the CPU time allowed
FILES_PER_WORKER = 2000  # then a new one: a process does not return all freed memory to the system


@dataclass(frozen=True)
class Conversion:
    """One file to convert.

    Attributes:
        source: The SVG file.
        out: Folder of the prepared data.
        category: Category of the drawing.
        name: Name of the drawing, distinct within its category.
        size: Longer side in pixels.
        min_alpha: Paint of this alpha or less covers nothing.
        min_layers: A drawing with fewer visible layers is refused.
        random_canvas: Draw on a colour that follows from the name, rather than on white.
        crop_margin: Crop to what is painted and this share of its longer side around it; None keeps the canvas.
    """

    source: str
    out: str
    category: str
    name: str
    size: int
    min_alpha: float
    min_layers: int = 1
    random_canvas: bool = False
    crop_margin: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Outcome of a file.

    Attributes:
        status: ``converted``, ``refused``, or ``skipped`` if it was not attempted.
        reason: Short name of the reason for refusing it.
        detail: The fault in this file.
        layers: Number of visible elements.
        width: Width in pixels.
        height: Height in pixels.
        seconds: Time taken.
        lost_texts: Texts that could not be drawn, for want of a font with their characters.
    """

    status: str
    reason: str = ""
    detail: str = ""
    layers: int = 0
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    lost_texts: int = 0


def convert_files(
    conversions: Iterable[Conversion], num_workers: int, seconds_per_file: float, memory_per_file_gb: float
) -> Iterator[tuple[Conversion, Outcome]]:
    """Convert files in ``num_workers`` processes and yield each outcome as it arrives, in any order.

    A file that takes too long or too much memory, or that crashes its worker, is refused; the others continue.

    Args:
        conversions: The files.
        num_workers: Number of processes.
        seconds_per_file: CPU time after which a worker is killed, so that the load of the machine does not decide
            which files are refused. A worker that waits is killed after ``WALL_CLOCK_FACTOR`` times as long.
        memory_per_file_gb: Address space of a worker in 10⁹ bytes, of which the worker itself takes about 0.2.

    Raises:
        RuntimeError: A worker could not be started.
        InputError: A worker could not write its files.
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
                        pending.appendleft(conversion)  # memory left over from earlier files may be the cause
                    else:
                        yield conversion, outcome
                if worker.is_spent or not pending:
                    selector.unregister(worker.answers)
                    worker.stop()
                    workers.remove(worker)
                else:
                    worker.send(pending.popleft())
    finally:
        for worker in workers:
            worker.stop()
        selector.close()


class _Worker:
    """One worker process, as seen from the parent."""

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
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.seconds = seconds
        self.conversion: Conversion | None = None
        self.handled, self.is_spent = 0, False
        self.started = time.monotonic()
        self.deadline = self.started + START_SECONDS  # until it reports that it has started

    def send(self, conversion: Conversion) -> None:
        """Send a file to the worker."""
        self.conversion, self.handled = conversion, self.handled + 1
        self.started = time.monotonic()
        self.deadline = self.started + WALL_CLOCK_FACTOR * self.seconds
        with suppress(BrokenPipeError):  # it died between two files: `collect` notices
            self.requests.write(json.dumps(asdict(conversion)).encode() + b"\n")
            self.requests.flush()

    def collect(self, is_overdue: bool) -> tuple[Conversion | None, Outcome | None]:
        """Return the current file with its outcome; kill the worker if it is overdue."""
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
                raise RuntimeError(f"a worker did not start: {self._error_output()}")
            _remove_unfinished(conversion, self.process.pid)
            return conversion, self._refusal(is_overdue)
        self.is_spent = self.handled >= FILES_PER_WORKER
        if "fault" in answer:
            raise InputError(*answer["fault"])
        self.is_spent |= answer.get("reason") == "too much memory"
        return conversion, Outcome(**answer) if conversion else None

    def _refusal(self, is_overdue: bool) -> Outcome:
        seconds = round(time.monotonic() - self.started, 3)
        message, code = self._error_output(), self.process.returncode
        if code == -signal.SIGPROF:
            return Outcome("refused", "too slow", f"more than {self.seconds:g} s of CPU time", seconds=seconds)
        if is_overdue or code == -signal.SIGALRM:
            limit = WALL_CLOCK_FACTOR * self.seconds
            return Outcome("refused", "too slow", f"more than {limit:g} s on the clock", seconds=seconds)
        if "memory allocation" in message or "MemoryError" in message:
            return Outcome("refused", "too much memory", message, seconds=seconds)
        return Outcome("refused", "renderer crashed", message or f"exit status {code}", seconds=seconds)

    def _error_output(self) -> str:
        """Return the most informative line of its stderr: one on memory or a panic, else the first of the last five."""
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 100_000))
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        informative = [
            line for line in lines if "memory allocation" in line or "MemoryError" in line or "panicked" in line
        ]
        return (informative[-1:] or lines[-5:] or [""])[0][:200]

    def stop(self) -> None:
        """Kill the worker, even if it is busy."""
        self.process.kill()
        self.process.wait()
        if self.conversion:
            _remove_unfinished(self.conversion, self.process.pid)
        for pipe in (self.requests, self.answers, self.errors):
            with suppress(BrokenPipeError):  # it died before reading the last request
                pipe.close()


def _remove_unfinished(conversion: Conversion, pid: int) -> None:
    """Remove the temporary files of a worker that was killed while writing."""
    for kind in ("images", "orders"):
        folder = Path(conversion.out) / kind / conversion.category
        temporary_path(folder / f"{conversion.name}.png", pid).unlink(missing_ok=True)


def _work(memory: int, seconds: float) -> None:
    """Run a worker: each line of JSON on stdin is a file, each line on stdout its outcome."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of the renderer must not mix with answers
    import formats.svg.paint_order  # noqa: F401 - before memory and time are limited

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        # The default action of the alarm ends this process should the parent die.
        signal.setitimer(signal.ITIMER_REAL, WALL_CLOCK_FACTOR * seconds + 5)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU time; the default action of its signal ends the process
        try:
            answer = asdict(convert(Conversion(**json.loads(line))))
        except InputError as error:
            answer = {"fault": error.args}
        except OSError as error:
            answer = {"fault": ("--out", f"a pair cannot be written: {error}", "Choose another folder.")}
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers, flush=True)


def convert(conversion: Conversion) -> Outcome:
    """Convert one file in this process.

    Raises:
        InputError: The pair could not be written.
    """
    from formats.atomic import atomic_path
    from formats.images import write_png
    from formats.layered_art.pairs import layer_pair
    from formats.svg.paint_order import draw_svg
    from formats.svg.tree import SvgRefusedError

    start = time.perf_counter()
    try:
        background = _canvas_colour(conversion) if conversion.random_canvas else "#ffffff"
        drawn = draw_svg(conversion.source, conversion.size, conversion.min_alpha, background)
        orders = drawn.orders
    except SvgRefusedError as refusal:
        return _refused(refusal.reason, refusal.detail, start)
    except MemoryError:
        return _refused("too much memory", "", start)
    except RecursionError:
        return _refused("nested too deeply", "", start)
    except BaseException as error:  # a panic of the renderer is not an Exception
        if type(error).__name__ != "PanicException":
            raise
        return _refused("renderer crashed", str(error)[:200], start)
    if orders.max() < conversion.min_layers:
        return _refused("too few layers", f"{orders.max()} visible", start)
    margin = conversion.crop_margin
    window = None if margin is None else _content_window(orders, margin)
    if window:
        orders = orders[window]
    files = layer_pair(conversion.out, conversion.category, conversion.name)
    write_png(files.orders, orders)  # the image last: a sample exists once its image does
    if window:
        write_png(files.image, drawn.image[window])
    else:
        with atomic_path(files.image) as temporary:
            temporary.write_bytes(drawn.png)  # decoding and encoding it again takes a sixth of the time
    height, width = orders.shape
    seconds = round(time.perf_counter() - start, 4)
    return Outcome("converted", "", "", int(orders.max()), width, height, seconds, drawn.lost_texts)


def _canvas_colour(conversion: Conversion) -> str:
    """Choose a colour from the drawing's category and name alone, from dark to light, often pale."""
    digest = hashlib.sha256(f"{conversion.category}/{conversion.name}".encode("utf-8", "surrogatepass")).digest()
    hue, saturation, value = (byte / 255 for byte in digest[:3])
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8 * saturation**2, 1 - 0.8 * value**2)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _content_window(orders: NDArray[np.uint16], margin: float) -> tuple[slice, slice]:
    """Return the rows and columns that hold what is painted, with a margin in units of its longer side."""
    spans = [np.flatnonzero((orders > 0).any(axis)) for axis in (1, 0)]
    border = round(margin * max(span[-1] - span[0] + 1 for span in spans))
    rows, columns = (slice(max(0, int(span[0]) - border), int(span[-1]) + 1 + border) for span in spans)
    return rows, columns


def _refused(reason: str, detail: str, start: float) -> Outcome:
    return Outcome("refused", reason, detail, seconds=round(time.perf_counter() - start, 4))


if __name__ == "__main__":
    _work(int(sys.argv[1]), float(sys.argv[2]))
