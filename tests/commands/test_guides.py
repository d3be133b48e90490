"""Every command of docs/from_the_guides.md, typed in the order of the page in one folder.

Options that make networks and data small are added. Published files are not at hand: their options are taken out, as
loading them has tests of its own.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli import main
from tests.support.commands import ROOT, SIDE, SMALL_MODEL, USERS, write_spectrograms

PAGE = (ROOT / "docs" / "from_the_guides.md").read_text(encoding="utf-8")
PUBLISHED = ("--model.published_checkpoint", "--vavae_path", "--model.tokenizer_path", "--checkpoint-path")
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
SHORT += [
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
    "--data.num_workers=0",
]
PAIR = ["--config=overlays/tiny_pair.yaml", *SHORT, "--data.image_size=56"]
LINEAR = ["--config=overlays/linear_latents.yaml", "--config=overlays/tiny_microdoppler.yaml", *SMALL_MODEL]
LAYERS = ["--config=overlays/tiny_layers.yaml", *SHORT, "--data.data_dir=data/layered_art", "--data.val_data_dir=null"]
LAYERS += ["--data.val_share=0.3", "--data.image_size=96", "--data.batch_size=1"]
SMALL: dict[str, list[str]] = {
    "fit single_pair.yaml": PAIR,
    "fit pair_aerialmd.yaml": PAIR,
    "fit layer_index.yaml": LAYERS,
    "fit dit_microdoppler.yaml": [*LINEAR, *SHORT, "--data.batch_size=4"],
    "predict microdoppler_extract_latents.yaml": [f"--data.image_size={SIDE}", "--data.num_workers=0"],
    "predict generate_microdoppler.yaml": ["--num_steps=2"],
    "predict layers_decompose.yaml": [],
    "prepare augmentation-study": ["--counts", "2", "--seeds", "2", "--generated_per_user", "2"],
    "prepare blind-test": ["--num_images=4"],
    "pipeline microdoppler": [
        *("--max_epochs=1", "--batch_size=4", f"--image_size={SIDE}", "--num_steps=2", "--devices=1"),
        *("--overlays", "overlays/tiny_microdoppler.yaml", "small.yaml"),
    ],
}


def page_commands() -> list[list[str]]:
    """Return the words after ``cli.py`` of every command in the tables."""
    return [shlex.split(command) for command in re.findall(r"`python cli\.py ([^`]+)`", PAGE)]


def typed(words: list[str]) -> list[str]:
    """Return a command without published files, and with the options that make it small."""
    kept: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        if word not in PUBLISHED and before not in PUBLISHED:
            kept.append(word)
    configs = [Path(word).name for word, before in zip(words, ["", *words], strict=False) if before == "--config"]
    name = f"{words[0]} {configs[0] if configs and words[0] in ('fit', 'predict') else words[1]}"
    return [*kept, *SMALL.get(name, [])]


def write_data(folder: Path) -> None:
    """Write what readers of the guides have: spectrograms, recordings, pairs, and layered art."""
    write_spectrograms(folder / "data" / "microdoppler", 6, 4)
    for position, user in enumerate(USERS, 1):  # the page's users are 1, 2 and 3
        for split in ("train", "val"):
            part = folder / "data" / "microdoppler" / split
            (part / f"ID_{user}").rename(part / f"ID_{position}")
    small = "{model: {init_args: {network: {hidden_size: 32, depth: 1, num_heads: 2, input_width: 4}}}}"
    (folder / "small.yaml").write_text(small)
    for user in (1, 2):
        for take in range(2):
            path = folder / "recordings" / f"ID_{user}" / f"{take}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            time = np.arange(20_000) / 7192
            np.save(
                path, np.exp(2j * np.pi * 300 * user * time) + 0.1 * np.random.default_rng(take).normal(size=20_000)
            )
    sizes = ["--num_scenes=3", "--val_scenes=1", "--pairs_per_scene=1", "--width=112", "--height=84"]
    main(["prepare", "aerial-city-sample", "--out=training/dataset_aerialmd/cropped", *sizes])
    shutil.copytree("training/dataset_aerialmd/cropped", "data/aerial_megadepth")
    main(["prepare", "illustrations-sample", "--out=drawings", "--num_images=16", "--size=96"])
    whole = [path.read_bytes() for path in sorted((folder / "drawings" / "images").rglob("*.png"))]
    columns = {"id": [str(number) for number in range(len(whole))], "layer_count": [1] * len(whole)}
    columns |= {"whole_image": whole, "layer_00": whole, "layer_00_box": [[0, 0, 96, 96]] * len(whole)}
    (folder / "prism").mkdir()
    pq.write_table(pa.table(columns), folder / "prism" / "art.parquet")
    shutil.copy(next((folder / "drawings" / "images").rglob("*.png")), folder / "my.png")


def test_the_page_has_a_table_per_guide() -> None:
    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 4
    assert len(page_commands()) >= 20


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    write_data(tmp_path)
    for words in page_commands():
        if "--ckpt_path" in words:  # the checkpoint of the layer training that stands before it
            found = sorted((tmp_path / "runs" / "layers").rglob("best.ckpt"))
            shutil.copy(found[-1], tmp_path / "best.ckpt")
        if "--data.imagenet_statistics" in words:
            continue  # needs the VA-VAE, whose latents these are
        try:
            main(typed(words))
        except Exception as error:
            error.add_note(f"typed: python cli.py {shlex.join(typed(words))}")
            raise
    assert (tmp_path / "training" / "dataset_aerialmd_single" / "single_pair.yaml").is_file()
    assert (tmp_path / "runs" / "walkers" / "samples" / "micro_doppler_user03_004.png").is_file()
    assert (tmp_path / "blind_test.html").is_file()
    assert list((tmp_path / "data" / "walks").rglob("ID_2/*.png"))
    assert list((tmp_path / "data" / "layered_art").rglob("02_layer_00.png"))
