"""``app``: one local page for the three tasks, with the weights of the repository."""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from formats.errors import InputError
from formats.local_files import read_json_object
from formats.optional import require_package
from weights import FOLDER

Run = Callable[[Sequence[str]], None]
USERS = (1, 2, 4, 5, 7)  # of the weights spectrograms_simulated
WALKERS = [f"user {user}" for user in USERS]
LAYER_FILES = ("layers.ora", "layers.psd", "layers.svg", "relief.stl", "relief.glb")
MACHINE = ("--trainer.devices=1", "--trainer.logger=false")
MISSING_DEPTH = (
    "This copy of Trilight has no weights for depth. `make weights NAME=depth_simulated` makes small ones; "
    "`trilight weights` names the published ones, for `trilight depth`."
)
FONTS = ["system-ui", "sans-serif"]  # of the computer, since others would be fetched


@dataclass
class Results:
    """Files that a command wrote.

    Attributes:
        images: Images to show.
        files: Files to open in other programs.
        scene: 3-D model, if there is one.
        note: What to know about the results.
    """

    images: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    scene: str | None = None
    note: str = ""


class Tasks:
    """The short commands, as functions; one runs at a time.

    Args:
        run: Runs a command, from its words.
        folder: Where results are written.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder, self._busy, self._count = run, folder, threading.Lock(), 0

    def _outputs(self, *words: str) -> Path:
        with self._busy:
            self._count += 1
            folder = self.folder / f"{self._count:04d}"
            self.run([*words, f"--data.output_dir={folder}", *MACHINE])
        return folder

    def layers(self, image: str) -> Results:
        """Divide an image, or an SVG file, into layers.

        Raises:
            InputError: It cannot be read.
        """
        (folder,) = (path for path in self._outputs("decompose", image).iterdir() if path.is_dir())
        layers = sorted(map(str, (folder / "layers").glob("*.png")))
        files = [str(folder / name) for name in LAYER_FILES]
        return Results([str(folder / "overview.png"), *layers], files, None, _note(folder / "weights.json"))

    def depth(self, first: str, second: str) -> Results:
        """Estimate depth and cameras of two images.

        Raises:
            InputError: An image cannot be read, or there are no weights.
        """
        (folder,) = (path for path in self._outputs("depth", first, second).iterdir() if path.is_dir())
        depths = sorted(map(str, folder.glob("*_depth.png")))
        files = sorted(str(path) for path in folder.iterdir() if path.is_file() and path.suffix != ".png")
        return Results(depths, files, str(folder / "points.glb"), _note(folder / "confidence.json"))

    def spectrograms(self, user: int, seed: int, count: int) -> Results:
        """Draw spectrograms of a simulated person.

        Raises:
            InputError: There is no such user, or a number is out of range.
        """
        numbers = f"--model.sample_seed={seed}", f"--data.samples_per_user={count}"
        folder = self._outputs("spectrogram", "--user", str(user), *numbers)
        files = sorted(map(str, folder.glob("micro_doppler_user*.png")))
        return Results([str(folder / "micro_doppler_grid.png")], files, None, _note(folder / "generation.json"))


def has_depth_weights() -> bool:
    """Return whether the repository holds weights for depth."""
    return (FOLDER / "depth_simulated.safetensors").is_file()


def _note(path: Path) -> str:
    return str(read_json_object(path, "Run the command again.").get("note", ""))


def run_app(run: Run, words: Sequence[str]) -> None:
    """Serve the page on this computer until Ctrl-C.

    Args:
        run: Runs a command, from its words.
        words: Words after ``app``.

    Raises:
        InputError: gradio is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="cli.py app", description="Serve a page for the three tasks on this computer."
    )
    parser.add_argument("--port", type=int, default=7860, help="port of the page (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    options = parser.parse_args(words)
    require_package("gradio")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with tempfile.TemporaryDirectory(prefix="trilight-") as folder:
        page, settings = build_page(Tasks(run, Path(folder)))
        page.launch(server_name="127.0.0.1", server_port=options.port, inbrowser=options.open, **settings)


def build_page(tasks: Tasks) -> tuple[Any, dict[str, Any]]:
    """Return the page, and its settings for ``launch``.

    Args:
        tasks: The functions behind the buttons.
    """
    import gradio as gr

    def shown(compute: Callable[[], Results], parts: Callable[[Results], tuple[Any, ...]]) -> Any:
        try:
            return parts(compute())
        except InputError as error:
            return asked(str(error))

    def asked(message: str) -> Any:
        gr.Warning(message, duration=None, title="Not done")
        return gr.skip()

    def show_layers(image: str | None) -> Any:
        if image is None:
            return asked("Choose a drawing first.")
        return shown(
            lambda: tasks.layers(image),
            lambda found: (
                found.images[0],
                [(path, Path(path).stem) for path in found.images[1:]],
                found.files,
                found.note,
            ),
        )

    def show_depth(first: str | None, second: str | None) -> Any:
        if first is None or second is None:
            return asked("Choose two images first.")
        return shown(
            lambda: tasks.depth(first, second), lambda found: (found.images, found.scene, found.files, found.note)
        )

    def show_spectrograms(walker: str, seed: float, count: float) -> Any:
        user = int(walker.rpartition(" ")[2])
        return shown(
            lambda: tasks.spectrograms(user, int(seed), int(count)),
            lambda found: (found.images[0], found.files, found.note),
        )

    def picture(label: str) -> Any:
        return gr.Image(label=label, type="filepath", interactive=False, buttons=["download", "fullscreen"])

    def gallery(label: str, columns: int) -> Any:
        return gr.Gallery(label=label, columns=columns, height="auto", object_fit="contain", interactive=False)

    def downloads() -> Any:
        return gr.File(label="Files for other programs", file_count="multiple", interactive=False)

    def connect(button: Any, function: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        button.click(function, inputs, outputs, show_progress_on=outputs[:1], concurrency_id="one")

    with gr.Blocks(title="Trilight") as page:
        gr.Markdown("# Trilight\nResults of the small weights in the repository, computed on this computer.")
        with gr.Tab("Layers"), gr.Row():
            with gr.Column(scale=1):
                image = gr.File(label="Drawing: PNG, JPEG, WebP or SVG", file_types=["image", ".svg"])
                button = gr.Button("Divide into layers", variant="primary")
                files = downloads()
            with gr.Column(scale=2):
                outputs = [picture("Overview"), gallery("Layers, bottom to top", 4), files, gr.Markdown()]
            connect(button, show_layers, [image], outputs)
        with gr.Tab("Depth"), gr.Row():
            with gr.Column(scale=1):
                with gr.Row():
                    views = [gr.Image(label=f"Image {number}", type="filepath", height=220) for number in (1, 2)]
                button = gr.Button("Estimate depth and cameras", variant="primary", interactive=has_depth_weights())
                files = downloads()
            with gr.Column(scale=2):
                note = "" if has_depth_weights() else MISSING_DEPTH
                outputs = [gallery("Depth", 2), gr.Model3D(label="Point cloud", interactive=False), files]
                outputs.append(gr.Markdown(note))
            connect(button, show_depth, views, outputs)
        with gr.Tab("Spectrograms"), gr.Row():
            with gr.Column(scale=1):
                walker = gr.Dropdown(WALKERS, value=WALKERS[0], label="Simulated person")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                count = gr.Slider(1, 8, 4, step=1, label="Number of spectrograms")
                button = gr.Button("Draw spectrograms", variant="primary")
                files = downloads()
            with gr.Column(scale=2):
                outputs = [picture("Spectrograms"), files, gr.Markdown()]
            connect(button, show_spectrograms, [walker, seed, count], outputs)
    theme = gr.themes.Default(font=FONTS, font_mono=["monospace"])
    return page, {"theme": theme, "share": False, "footer_links": [], "run_history": False, "ssr_mode": False}
