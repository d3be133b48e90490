"""The layer task through the command line: prepare, train, resume, decompose."""

import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageDraw
from psd_tools import PSDImage

from cli import main
from formats.errors import InputError
from formats.images import read_grey, read_rgba, write_png
from lightning_modules.layer_index import LayerIndexModule
from networks import depth_pro
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command

CONFIGS = ROOT / "configs"
CAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><rect width="60" height="40" fill="#9cf"/>
<circle cx="30" cy="20" r="15" fill="#{colour:06x}"/><rect x="25" y="15" width="8" height="8" fill="#222"/></svg>"""


@pytest.fixture(scope="session")
def illustrations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("illustrations") / "data"
    main(["prepare", "illustrations-sample", f"--out={folder}", "--num_images=24", "--size=96"])
    return folder


def words(data, *more, command="fit"):
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
def trained(illustrations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    done = run_command(*words(illustrations, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "layer_index" / "version_0" / "checkpoints" / "last.ckpt"


def test_training_logs_losses_metrics_both_rates_and_pictures(trained):
    run = trained.parents[1]
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/loss", "val/scale_invariant_error", "val/order_accuracy"} <= set(header)
    assert {"val/foreground_order_accuracy", "val/rank_correlation", "val/boundary_f1"} <= set(header)
    assert {"lr-AdamW/encoder", "lr-AdamW/decoder"} <= set(header)
    assert {path.name.split("_0")[0] for path in (run / "images").iterdir()} == {"layer_index"}


@pytest.fixture
def smallest(monkeypatch):
    """The smallest network there is under the name ``tiny``, for what takes many steps."""
    preset = depth_pro.PRESETS["tiny"]._replace(embed_dim=32, depth=2, num_heads=2, hook_blocks=(0, 1), window=32)
    monkeypatch.setitem(depth_pro.PRESETS, "tiny", preset)


@pytest.mark.usefixtures("smallest")
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_training_ends_with_the_same_weights(illustrations, tmp_path, monkeypatch, workers):
    """Cut in the middle of the second of three epochs, with augmentation, in this process and in workers."""

    def train(folder, *more):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        more = (f"--data.num_workers={workers}", "--trainer.max_epochs=3", "--trainer.limit_val_batches=0", *more)
        main([word for word in words(illustrations, *more) if "limit_train" not in word] + ["--data.limit=8"])
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


def test_prepared_svg_files_train(tmp_path):
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


def test_full_size_configuration_is_sound():
    """Everything but the network's size comes from the full-size configuration."""
    with pytest.raises(InputError, match="data/layered_art"):
        main(["fit", f"--config={CONFIGS / 'layer_index.yaml'}", "--model.size=tiny", "--trainer.accelerator=cpu"])


def test_a_full_size_configuration_tests_a_small_checkpoint(illustrations, trained, capsys):
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


def picture(path, size=(150, 100), mode="RGB"):
    image = Image.new(mode, (size[0] * 2, size[1] * 2), "white" if mode == "RGB" else (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 20, 240, 180), fill=(200, 60, 40))
    draw.rectangle((100, 60, 160, 120), fill=(30, 60, 160))
    write_png(path, np.asarray(image.resize(size, Image.Resampling.LANCZOS)))
    return path


def decompose_words(trained, images, out, *more):
    return [
        "predict",
        f"--config={CONFIGS / 'layers_decompose.yaml'}",
        f"--ckpt_path={trained}",
        f"--data.images={images}",
        f"--data.output_dir={out}",
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        *more,
    ]


def over(canvas, pixels):
    """Lay RGBA pixels over RGBA pixels; the definition, in float64."""
    a, b = pixels[..., 3:] / 255, canvas[..., 3:] / 255
    alpha = a + b * (1 - a)
    colour = (pixels[..., :3] * a + canvas[..., :3] * b * (1 - a)) / np.maximum(alpha, 1e-9)
    return np.concatenate([colour, 255 * alpha], axis=-1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_becomes_files_that_other_programs_open(trained, tmp_path, mode):
    path = picture(tmp_path / "my.png", mode=mode)
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
        mesh = trimesh.load(folder / name, force="mesh")
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        assert mesh.is_watertight
    assert read_rgba(folder / "overview.png").shape[0] > 100


def test_two_processes_write_what_one_writes(trained, tmp_path):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.png", (90 + number, 60))
    for name, devices in (("one", 1), ("two", 2)):
        more = [f"--trainer.devices={devices}", "--trainer.strategy=ddp" if devices == 2 else "--trainer.strategy=auto"]
        done = run_command(*decompose_words(trained, tmp_path / "images", tmp_path / name)[:-1], *more)
        assert done.returncode == 0, done.stderr
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("index*.png"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_random_weights_and_depth_pro_itself_are_refused(illustrations, trained, tmp_path):
    path = picture(tmp_path / "my.png")
    bare = [word for word in decompose_words(trained, path, tmp_path / "out") if "ckpt_path" not in word]
    bare.append("--model.size=tiny")
    with pytest.raises(InputError, match="random weights"):
        main(bare)
    published = to_published(LayerIndexModule.load_from_checkpoint(trained).network)
    published["head.4.bias"] = torch.full((1,), 3.0)
    torch.save(published, tmp_path / "index.pt")
    torch.save({**published, "fov.head.0.weight": torch.zeros(1)}, tmp_path / "depth_pro.pt")
    main([*bare, f"--model.published_checkpoint={tmp_path}/index.pt", "--data.num_layers=2"])
    assert (tmp_path / "out" / "my" / "layers.psd").is_file()
    with pytest.raises(InputError, match="gives depth and no layer index"):
        main([*bare, f"--model.published_checkpoint={tmp_path}/depth_pro.pt"])


@pytest.mark.parametrize(("name", "bias"), [("index.pt", 3.0), ("depth_pro.pt", 0.0)])
def test_training_starts_from_published_weights(illustrations, trained, tmp_path, name, bias):
    """From Depth Pro with its last bias at 0, from a layer index with all it has."""
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


def test_missing_pictures_say_so(trained, tmp_path):
    with pytest.raises(InputError, match=r"none\.png: there is no such file"):
        main(decompose_words(trained, tmp_path / "none.png", tmp_path / "out"))
    with pytest.raises(InputError, match="0 layers cannot be"):
        main(decompose_words(trained, tmp_path / "none.png", tmp_path / "out", "--data.num_layers=0"))


def test_names_stay_apart_and_layers_of_an_earlier_run_go(trained, tmp_path, capsys):
    for name in ("a_b.png", "a.b.png", "a.b.webp"):
        picture(tmp_path / "images" / name, (60, 40))
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


def test_a_process_without_a_picture_is_refused(trained, tmp_path):
    path = picture(tmp_path / "my.png")
    more = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    done = run_command(*decompose_words(trained, path, tmp_path / "out")[:-1], *more)
    assert done.returncode == 1
    assert "names 1 for 2 processes" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_folder_that_is_a_file_is_named(trained, tmp_path):
    path = picture(tmp_path / "my.png")
    with pytest.raises(InputError, match="cannot be a folder"):
        main(decompose_words(trained, path, path))
