"""The layer task through the command line: prepare, train, resume, decompose."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from psd_tools import PSDImage

from cli import main
from formats.errors import InputError
from formats.images import read_grey, read_rgba, write_png
from lightning_modules.layer_index import LayerIndexModule
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command

CONFIGS = ROOT / "configs"
NETWORK = [
    "--model.network.vit=vit_small_patch14_dinov2",
    "--model.network.embed_dim=192",
    "--model.network.depth=4",
    "--model.network.num_heads=3",
    "--model.network.hook_blocks=[0, 2]",
    "--model.network.encoder_dims=[32, 48, 64, 64]",
    "--model.network.decoder_features=32",
    "--model.network.window=96",
    "--model.network.init_values=1.0",
]
CAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><rect width="60" height="40" fill="#9cf"/>
<circle cx="30" cy="20" r="15" fill="#{colour:06x}"/><rect x="25" y="15" width="8" height="8" fill="#222"/></svg>"""


@pytest.fixture(scope="session")
def illustrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("illustrations") / "data"
    main(["prepare", "illustrations-sample", f"--out={folder}", "--num_images=24", "--size=96"])
    return folder


def words(data: Path, *more: str, command: str = "fit") -> list[str]:
    return [
        command,
        f"--config={CONFIGS / 'layer_index.yaml'}",
        f"--config={CONFIGS / 'overlays' / 'tiny_layers.yaml'}",
        f"--data.data_dir={data}",
        "--data.val_data_dir=null",
        "--data.val_share=0.25",
        "--data.batch_size=2",
        "--data.num_workers=0",
        "--data.image_size=128",
        "--trainer.enable_model_summary=false",
        "--trainer.limit_train_batches=2",
        "--trainer.limit_val_batches=1",
        "--trainer.check_val_every_n_epoch=1",
        *more,
    ]


@pytest.fixture(scope="session")
def trained(illustrations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    done = run_command(*words(illustrations, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "layer_index" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.mark.slow
def test_training_logs_losses_metrics_both_learning_rates_and_images(trained: Path) -> None:
    run = trained.parents[1]
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/loss", "val/scale_invariant_error", "val/order_accuracy"} <= set(header)
    assert {"val/foreground_order_accuracy", "val/rank_correlation", "val/boundary_f1"} <= set(header)
    assert {"lr-AdamW/encoder", "lr-AdamW/decoder"} <= set(header)
    assert {path.name.split("_0")[0] for path in (run / "images").iterdir()} == {"layer_index"}


# A network smaller than tiny, for tests of many steps.
SMALLEST = [
    f"--model.network.{name}={value}"
    for name, value in {"embed_dim": 32, "depth": 2, "num_heads": 2, "hook_blocks": "[0, 1]", "window": 32}.items()
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key.*")  # without validation
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_training_ends_with_the_same_weights(
    illustrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Interrupted in the middle of the second of three epochs, with augmentation, with and without workers."""

    def train(folder: str, *more: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        options = (
            *SMALLEST,
            f"--data.num_workers={workers}",
            "--trainer.max_epochs=3",
            "--trainer.limit_val_batches=0",
        )
        main([word for word in words(illustrations, *options, *more) if "limit_train" not in word] + ["--data.limit=8"])
        return tmp_path / folder / "runs" / "layer_index"

    whole = train("whole")
    steps = load_checkpoint(whole / "version_0" / "checkpoints" / "last.ckpt")["global_step"]
    cut = interrupted(lambda *more: train("part", *more), steps // 2)
    resumed = train("part", f"--ckpt_path={cut}")
    first = load_checkpoint(whole / "version_0" / "checkpoints" / "last.ckpt")
    second = load_checkpoint(resumed / "version_1" / "checkpoints" / "last.ckpt")
    assert first["global_step"] == second["global_step"] == steps
    assert steps % 3 == 0
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name


@pytest.mark.slow
def test_prepared_svg_files_train(tmp_path: Path) -> None:
    for number in range(8):
        path = tmp_path / "svg" / "cats" / f"cat{number}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CAT.replace("{colour:06x}", f"{number * 999_999:06x}"))
    (tmp_path / "svg" / "broken.svg").write_text("<svg")
    main(["prepare", "layers", f"--svg_dir={tmp_path}/svg", f"--out={tmp_path}/clipart", "--size=64"])
    orders = read_grey(tmp_path / "clipart" / "orders" / "cats" / "cat3.png")
    assert orders.shape == (43, 64)
    assert [orders[1, 1], orders[32, 32], orders[20, 30]] == [1, 2, 3]
    assert "broken XML" in (tmp_path / "clipart" / "report.csv").read_text()
    main(words(tmp_path / "clipart", "--trainer.fast_dev_run=true"))


@pytest.mark.slow
def test_the_full_size_configuration_trains(illustrations: Path, tmp_path: Path) -> None:
    """Everything but the sizes and the data comes from the full-size configuration."""
    main(
        [
            "fit",
            f"--config={CONFIGS / 'layer_index.yaml'}",
            *NETWORK,
            *SMALLEST,
            f"--data.data_dir={illustrations}",
            "--data.image_size=128",
            "--data.num_workers=0",
            "--data.limit=8",
            "--data.val_share=0.25",
            "--trainer.accelerator=cpu",
            "--trainer.precision=32-true",
            "--trainer.max_epochs=1",
            "--trainer.limit_val_batches=1",
        ]
    )
    checkpoint = load_checkpoint(tmp_path / "runs" / "layer_index" / "version_0" / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 2
    parameters = checkpoint["hyper_parameters"]
    assert parameters["encoder_learning_rate"] == 1e-5
    assert parameters["gradient_checkpointing"] is True
    assert parameters["network"]["window"] == 32


def test_the_full_size_configuration_names_its_missing_data() -> None:
    with pytest.raises(InputError, match="data/layered_art: no such folder"):
        main(["fit", f"--config={CONFIGS / 'layer_index.yaml'}", *NETWORK, *SMALLEST, "--trainer.accelerator=cpu"])


@pytest.mark.slow
def test_a_full_size_configuration_tests_a_small_checkpoint(
    illustrations: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            "test",
            f"--config={CONFIGS / 'layer_index.yaml'}",
            f"--ckpt_path={trained}",
            f"--data.data_dir={illustrations}",
            "--data.test_share=0.3",
            "--data.image_size=128",
            "--data.num_workers=0",
            "--trainer.accelerator=cpu",
            "--trainer.logger=false",
            "--trainer.limit_test_batches=1",
        ]
    )
    assert "test/order_accuracy" in capsys.readouterr().out


def draw_image(path: Path, size: tuple[int, int] = (150, 100), mode: str = "RGB") -> Path:
    image = Image.new(mode, (size[0] * 2, size[1] * 2), "white" if mode == "RGB" else (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 20, 240, 180), fill=(200, 60, 40))
    draw.rectangle((100, 60, 160, 120), fill=(30, 60, 160))
    write_png(path, np.asarray(image.resize(size, Image.Resampling.LANCZOS)))
    return path


def decompose_words(trained: Path, images: Path, out: Path, *more: str) -> list[str]:
    return [
        "predict",
        f"--config={CONFIGS / 'layers_decompose.yaml'}",
        f"--ckpt_path={trained}",
        f"--data.images={images}",
        f"--data.output_dir={out}",
        "--trainer.accelerator=cpu",
        "--trainer.report=false",  # holds the time
        "--trainer.devices=1",
        *more,
    ]


def over(canvas: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Composite RGBA pixels over RGBA pixels by definition, in float64."""
    a, b = pixels[..., 3:] / 255, canvas[..., 3:] / 255
    alpha = a + b * (1 - a)
    colour = (pixels[..., :3] * a + canvas[..., :3] * b * (1 - a)) / np.maximum(alpha, 1e-9)
    return np.concatenate([colour, 255 * alpha], axis=-1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.slow
def test_an_image_becomes_files_for_other_programs(trained: Path, tmp_path: Path, mode: str) -> None:
    path = draw_image(tmp_path / "my.png", mode=mode)
    main(decompose_words(trained, path, tmp_path / "out", "--data.num_layers=3"))
    folder = tmp_path / "out" / "my"
    original = read_rgba(path).astype(np.float64)
    assert read_grey(folder / "index.png").shape == original.shape[:2]
    assert read_rgba(folder / "index_colour.png").shape == original.shape
    names = [file.name for file in sorted((folder / "layers").iterdir())]
    canvas = np.zeros_like(original)
    for name in names:
        canvas = over(canvas, read_rgba(folder / "layers" / name).astype(np.float64))
    premultiplied = [image[..., :3] * image[..., 3:] / 255 for image in (canvas, original)]
    assert np.abs(premultiplied[0] - premultiplied[1]).mean() <= 1
    assert np.abs(canvas[..., 3] - original[..., 3]).mean() <= 1
    with zipfile.ZipFile(folder / "layers.ora") as archive:
        stack = ElementTree.fromstring(archive.read("stack.xml"))
        assert len(stack.findall(".//layer")) == len(names)
    psd = PSDImage.open(folder / "layers.psd")
    assert psd.size == (150, 100)
    assert len(list(psd)) == len(names)
    drawing = ElementTree.parse(folder / "layers.svg").getroot()
    assert len(drawing.findall("{http://www.w3.org/2000/svg}g")) == len(names)
    for name in ("relief.stl", "relief.glb"):
        mesh = trimesh.load_mesh(folder / name)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        assert mesh.is_watertight
    assert read_rgba(folder / "overview.png").shape[0] > 100


def written_files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder; archives without the times in them."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.*")):
        if path.suffix == ".ora":
            with zipfile.ZipFile(path) as archive:
                files |= {f"{path.relative_to(folder)}/{name}": archive.read(name) for name in archive.namelist()}
        elif path.is_file():
            files[str(path.relative_to(folder))] = path.read_bytes()
    return files


@pytest.mark.slow
def test_two_processes_write_what_one_writes(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process starts with two threads, two processes with one each, as Lightning does on two cores."""
    for number in range(3):
        draw_image(tmp_path / "images" / f"{number}.png", (90 + number, 60))
    for name, devices in (("one", 1), ("two", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(2 // devices))
        more = [f"--trainer.devices={devices}", "--trainer.strategy=ddp" if devices == 2 else "--trainer.strategy=auto"]
        done = run_command(*decompose_words(trained, tmp_path / "images", tmp_path / name)[:-1], *more)
        assert done.returncode == 0, done.stderr
    one, two = written_files(tmp_path / "one"), written_files(tmp_path / "two")
    assert sum("index" in name for name in one) == 6
    assert [name for name in one.keys() | two.keys() if one.get(name) != two.get(name)] == []


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_number_of_threads(trained: Path, tmp_path: Path) -> None:
    path = draw_image(tmp_path / "my.png", (90, 60))
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            main([*decompose_words(trained, path, tmp_path / str(threads)), f"--num_threads={threads}"])
    finally:
        torch.set_num_threads(before)
    assert written_files(tmp_path / "1") == written_files(tmp_path / "4")


@pytest.mark.slow
def test_random_weights_and_depth_pro_itself_are_refused(illustrations: Path, trained: Path, tmp_path: Path) -> None:
    path = draw_image(tmp_path / "my.png")
    bare = [word for word in decompose_words(trained, path, tmp_path / "out") if "ckpt_path" not in word]
    bare += ["--model=LayerIndexModule", *NETWORK]
    with pytest.raises(InputError, match="random weights"):
        main(bare)
    published = to_published(LayerIndexModule.load_from_checkpoint(trained).network)
    published["head.4.bias"] = torch.full((1,), 3.0)
    torch.save(published, tmp_path / "index.pt")
    torch.save({**published, "fov.head.0.weight": torch.zeros(1)}, tmp_path / "depth_pro.pt")
    main([*bare, f"--model.published_checkpoint={tmp_path}/index.pt", "--data.num_layers=2"])
    assert (tmp_path / "out" / "my" / "layers.psd").is_file()
    with pytest.raises(InputError, match="predicts depth rather than a layer index"):
        main([*bare, f"--model.published_checkpoint={tmp_path}/depth_pro.pt"])


@pytest.mark.parametrize(("name", "bias"), [("index.pt", 3.0), ("depth_pro.pt", 0.0)])
@pytest.mark.slow
def test_training_starts_from_published_weights(
    illustrations: Path, trained: Path, tmp_path: Path, name: str, bias: float
) -> None:
    """From Depth Pro, with its last bias reset to 0, and from a layer index network, unchanged."""
    network = LayerIndexModule.load_from_checkpoint(trained).network
    published = {**to_published(network), "head.4.bias": torch.full((1,), 3.0)}
    fov = {"fov.head.0.weight": torch.zeros(1)} if name == "depth_pro.pt" else {}
    torch.save(published | fov, tmp_path / name)
    rates = ["--model.encoder_learning_rate=0", "--model.decoder_learning_rate=0"]
    main(words(illustrations, f"--model.published_checkpoint={tmp_path / name}", *rates, "--trainer.max_epochs=1"))
    after = load_checkpoint(tmp_path / "runs" / "layer_index" / "version_0" / "checkpoints" / "last.ckpt")
    for key, tensor in network.state_dict().items():
        if key != "head.4.bias":
            assert torch.equal(after["state_dict"][f"network.{key}"], tensor), key
    assert after["state_dict"]["network.head.4.bias"].item() == bias


@pytest.mark.slow
def test_missing_images_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        main(decompose_words(trained, tmp_path / "none.png", tmp_path / "out"))
    with pytest.raises(InputError, match="must be at least 1, not 0"):
        main(decompose_words(trained, tmp_path / "none.png", tmp_path / "out", "--data.num_layers=0"))


@pytest.mark.slow
def test_equal_names_get_separate_folders_and_old_layers_are_removed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a_b.png", "a.b.png", "a.b.webp"):
        draw_image(tmp_path / "images" / name, (60, 40))
    for layers in (3, 2):
        main(decompose_words(trained, tmp_path / "images", tmp_path / "out", f"--data.num_layers={layers}"))
    assert {folder.name for folder in (tmp_path / "out").iterdir()} == {"a_b.png", "a.b.png", "a.b.webp"}
    for folder in (tmp_path / "out").iterdir():
        with zipfile.ZipFile(folder / "layers.ora") as archive:
            stack = ElementTree.fromstring(archive.read("stack.xml"))
        assert len(list((folder / "layers").iterdir())) == len(stack.findall(".//layer"))
    write_png(tmp_path / "plain.png", np.full((40, 40, 3), 90, np.uint8))
    capsys.readouterr()
    main(decompose_words(trained, tmp_path / "plain.png", tmp_path / "out", "--data.num_layers=30"))
    assert "30" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("plain:"))


@pytest.mark.slow
def test_a_process_without_an_image_is_refused(trained: Path, tmp_path: Path) -> None:
    path = draw_image(tmp_path / "my.png")
    more = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    done = run_command(*decompose_words(trained, path, tmp_path / "out")[:-1], *more)
    assert done.returncode == 1
    assert "gives 1 batches for 2 processes" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_output_folder_that_is_a_file_is_named(trained: Path, tmp_path: Path) -> None:
    path = draw_image(tmp_path / "my.png")
    with pytest.raises(InputError, match="is a file where a folder should be"):
        main(decompose_words(trained, path, path))
