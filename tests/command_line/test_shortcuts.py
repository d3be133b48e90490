"""Short commands stand for `predict` with one configuration."""

from pathlib import Path

import numpy as np
import pytest

import configs
from cli import main
from command_line.shortcuts import SHORTCUTS, expand_shortcut
from command_line.tasks import UsageError
from formats.errors import InputError
from formats.images import write_png


def test_other_commands_stay() -> None:
    for words in ([], ["fit", "--config", "a.yaml"], ["--help"]):
        assert expand_shortcut(words) == words


@pytest.mark.parametrize("flag", [[], ["--user"]])
def test_users_are_numbers(flag: list[str]) -> None:
    start = ["predict", "--config=generate_microdoppler.yaml", "--data.user_ids=[3, 12]"]
    weights = "--model.shipped_weights=spectrograms_simulated"
    assert expand_shortcut(["spectrogram", *flag, "3", "12"]) == [*start, weights]
    own = ["--ckpt_path=a.ckpt"]
    assert expand_shortcut(["spectrogram", *flag, "3", "12", *own]) == [*start, *own]


def test_names_of_files_are_kept_as_they_are() -> None:
    words = expand_shortcut(["depth", "a b.jpg", 'c"d,é.jpg', "--trainer.devices", "1"])
    assert words[2:] == ['--data.images=["a b.jpg", "c\\"d,é.jpg"]', "--trainer.devices", "1"]


@pytest.mark.parametrize("name", list(SHORTCUTS))
def test_configurations_exist_and_nothing_is_refused(name: str) -> None:
    assert (configs.FOLDER / SHORTCUTS[name].config).is_file()
    with pytest.raises(UsageError, match=f"cli.py {name}: nothing is named"):
        main([name])


@pytest.mark.slow
def test_a_user_without_samples_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"user 3: is not among the users .* Choose from 1, 2, 4, 5, 7"):
        main(["spectrogram", "--user", "3", f"--data.output_dir={tmp_path}"])
    with pytest.raises(InputError, match=r"nothere\.png: no such file"):
        main(["decompose", "nothere.png"])


@pytest.mark.slow
def test_layers_of_an_image(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 240, np.uint8)
    image[10:40, 10:40], image[25:60, 25:60] = (200, 30, 30), (30, 30, 200)
    write_png(tmp_path / "my.png", image)
    main(["decompose", f"{tmp_path}/my.png", f"--data.output_dir={tmp_path}/out", "--trainer.accelerator=cpu"])
    assert len(list((tmp_path / "out" / "my" / "layers").glob("*.png"))) >= 3
