"""Short names of options: each reaches the full option, and each that does not apply is explained."""

import contextlib
import io
from collections.abc import Mapping

import pytest
import yaml

from cli import TASKS, main
from command_line.arguments import type_hints
from command_line.settings import read_sources
from command_line.short_names import GENERAL, OF_MODULE, Switch, short_names_help, with_full_names
from command_line.tasks import UsageError, classes_by_name, load
from configs import FOLDER

EXTRACTION = ("predict", "microdoppler_extract_latents.yaml")
TRAINING = ("fit", "dit_microdoppler.yaml")
GENERATION = ("predict", "generate_microdoppler.yaml")
LAYERS = ("fit", "layer_index.yaml")
DATAMODULES = {
    "LatentExtractionModule": "SpectrogramDataModule",
    "UserConditionedDiTModule": "LatentDataModule",
    "LayerIndexModule": "LayeredArtDataModule",
}


def full(task: tuple[str, str], *words: str) -> list[str]:
    """Return the full options of short names, without the configuration."""
    return with_full_names(task[0], ["--config", str(FOLDER / task[1]), *words], TASKS)[2:]


def settings(task: tuple[str, str], *words: str) -> Mapping[str, object]:
    """Return what the parser makes of a command line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main([task[0], f"--config=configs/{task[1]}", *words, "--print_config"])
    assert ended.value.code in (None, 0)
    parsed: Mapping[str, object] = yaml.safe_load(printed.getvalue())
    return parsed


def at(parsed: Mapping[str, object], path: str) -> object:
    value: object = parsed
    for key in path.split("."):
        assert isinstance(value, dict)
        value = value["init_args"][key] if "init_args" in value else value[key]
    return value


@pytest.mark.parametrize(
    ("task", "words", "expected"),
    [
        (
            EXTRACTION,
            "--data_dir D --vavae_path V.pt --output_path O --batch_size 8",
            {"data.data_dir": "D", "model.tokenizer_path": "V.pt", "output_dir": "O", "data.batch_size": 8},
        ),
        (
            TRAINING,
            "--latent_dir L --output_dir O --lr 1e-3 --max_epochs 2 --devices 1 --precision 32-true",
            {
                "data.data_dir": "L",
                "output_dir": "O",
                "model.learning_rate": 1e-3,
                "trainer.max_epochs": 2,
                "trainer.devices": "1",  # the trainer's type is int | str | list
                "trainer.precision": "32-true",
            },
        ),
        (
            GENERATION,
            "--vavae_path V.pt --output_dir O --user_ids 1 2 3 --num_samples_per_user 5 --guidance_scale 3 "
            "--num_steps 50",
            {
                "model.tokenizer_path": "V.pt",
                "output_dir": "O",
                "data.user_ids": [1, 2, 3],
                "data.samples_per_user": 5,
                "model.guidance_scale": 3,
                "model.num_steps": 50,
            },
        ),
        (
            LAYERS,
            "--checkpoint-path depth_pro.pt --learning-rate 2e-4 --encoder-lr 3e-6 --use-amp --use-edge-loss "
            "--edge-loss-weight 0.2 --save-dir O",
            {
                "model.published_checkpoint": "depth_pro.pt",
                "model.decoder_learning_rate": 2e-4,
                "model.encoder_learning_rate": 3e-6,
                "trainer.precision": "auto",
                "model.edge_weight": 0.2,
                "output_dir": "O",
            },
        ),
        (LAYERS, "--use-edge-loss", {"model.edge_weight": 0.1}),
    ],
    ids=["extraction", "training", "generation", "layers", "edge loss"],
)
def test_the_words_of_the_guides_are_accepted(
    task: tuple[str, str], words: str, expected: Mapping[str, object]
) -> None:
    parsed = settings(task, *words.split())
    assert {option: at(parsed, option) for option in expected} == expected


def test_a_checkpoint_has_a_short_name_in_generation() -> None:
    assert full(GENERATION, "--dit_checkpoint", "a.ckpt") == ["--ckpt_path=a.ckpt"]
    assert full(("predict", "layers_decompose.yaml"), "--checkpoint-path", "a.ckpt") == ["--ckpt_path=a.ckpt"]


def test_every_short_name_is_an_option_of_its_module() -> None:
    known = classes_by_name(TASKS)
    for (command, module), names in OF_MODULE.items():
        datamodule = "SampleRequestDataModule" if module.startswith("User") else DATAMODULES[module]
        datamodule = datamodule if command == "predict" else DATAMODULES[module]
        owners = {"model": type_hints(load(known[module])), "data": type_hints(load(known[datamodule]))}
        for target in names.values():
            key, _, name = (target.option if isinstance(target, Switch) else target).partition(".")
            assert key not in owners or name in owners[key], (command, module, target)


def test_every_short_name_is_refused_where_it_does_not_apply() -> None:
    """With the training of another task, all of them are explained."""
    every = {name for names in [*GENERAL.values(), *OF_MODULE.values()] for name in names}
    foreign = every - set(GENERAL["fit"])
    assert {"latent_dir", "dit_checkpoint", "user_ids", "encoder_lr", "use_edge_loss"} <= foreign
    for name in foreign:
        with pytest.raises(
            UsageError, match=rf"--{name}: means --.* in `.*` with .*; `fit` with PairDepthCameraModule has no"
        ):
            full(("fit", "pair_aerialmd.yaml"), f"--{name}", "1")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--use-edge-loss", "false"], ["--model.edge_weight=0.0"]),
        (["--use_edge_loss"], ["--model.edge_weight=0.1"]),
        (["--edge-loss-weight=0.3", "--use-edge-loss"], ["--model.edge_weight=0.3"]),
        (
            ["--edge-loss-weight", "0.3", "--use-edge-loss", "false"],
            ["--model.edge_weight=0.3", "--model.edge_weight=0.0"],
        ),
        (["--use-amp=false"], ["--trainer.precision=32-true"]),
        (["-c", "a.yaml", "-h"], ["-c", "a.yaml", "-h"]),
    ],
)
def test_switches(words: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("command_line.short_names.read_sources", lambda args: read_sources(args[:2]))
    assert full(LAYERS, *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data.user_ids", "3"], ["--data.user_ids=[3]"]),
        (["--data.user_ids=3"], ["--data.user_ids=[3]"]),
        (["--data.user_ids", "a.*"], ['--data.user_ids=["a.*"]']),
        (["--data.user_ids", "[1, 2]"], ["--data.user_ids=[1, 2]"]),
        (["--data.user_ids", "null"], ["--data.user_ids=null"]),
        (["--user-ids", "1", "2", "--seed_everything", "-1"], ["--data.user_ids=[1, 2]", "--seed_everything=-1"]),
        (["--model.sampler", "heun"], ["--model.sampler=heun"]),
        (["--model.betas", "0.9", "0.95", "--print_config"], ["--model.betas=[0.9, 0.95]", "--print_config"]),
    ],
)
def test_lists_are_typed_with_blanks(words: list[str], expected: list[str]) -> None:
    assert full(GENERATION, *words) == expected


def test_help_lists_the_short_names() -> None:
    text = short_names_help("fit")
    assert "--lr (--model.learning_rate)" in text
    assert "With LayerIndexModule: --checkpoint_path (--model.published_checkpoint)" in text
    assert "--use_edge_loss (--model.edge_weight)" in text
    assert "output_dir (" not in text
