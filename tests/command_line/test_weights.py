"""``weights`` lists published weights and those of the repository, with commands that the parser accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import TASKS, main
from command_line.tasks import UsageError
from command_line.weights import SHIPPED_COMMANDS
from formats.errors import InputError
from formats.hub_files import parse_hub_name
from tests.support.hub_cache import HubCache
from weights import FOLDER
from weights.published import PUBLISHED_FILES, PublishedFile


def test_every_file_has_size_licence_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = HubCache(tmp_path, monkeypatch)
    cached = parse_hub_name(PUBLISHED_FILES[0].name)
    cache.add(cached.repository, cached.file, b"weights")
    main(["weights"])
    printed = capsys.readouterr().out
    for file in PUBLISHED_FILES:
        assert f"python cli.py {file.command} {file.name}\n" in printed
        state = "in the cache" if file is PUBLISHED_FILES[0] else "not in the cache"
        assert f"    {file.about}; {file.size}; {state}\n" in printed
    for path in FOLDER.glob("*.safetensors"):
        assert f"  {path.stem}\n" in printed
        assert SHIPPED_COMMANDS[path.stem] in printed
    assert printed.count("licence: ") == len(PUBLISHED_FILES) + len(list(FOLDER.glob("*.safetensors")))


def test_files_are_of_tasks() -> None:
    assert {file.task for file in PUBLISHED_FILES} <= {task.title for task in TASKS}


@pytest.mark.parametrize("file", PUBLISHED_FILES, ids=lambda file: file.name)
def test_commands_are_accepted(file: PublishedFile, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*file.command.split(), file.name, "--print_config"])
    assert ended.value.code in (None, 0)
    assert file.name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.published_checkpoint=hf://owner/net/../../weights.pt", "Write hf://owner/repository/file"),
        ("--ckpt_path=hf://owner/net/last.ckpt", "is the URL"),
        ("--data.data_dir=hf://owner/net/data", "is the URL"),
    ],
)
def test_only_published_files_are_named_on_the_hub(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        main(["fit", "--config=pair_aerialmd.yaml", option])


def test_missing_weights_are_refused_before_a_network_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HubCache(tmp_path, monkeypatch)

    def build(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr("lightning_modules.pair_depth_camera.VGGT", build)
    with pytest.raises(InputError, match="is not in the cache .*, and HF_HUB_OFFLINE is set"):
        main(["fit", "--config=pair_aerialmd.yaml", "--model.published_checkpoint=hf://owner/net/model.safetensors"])


def test_other_words_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot do 'download'"):
        main(["weights", "download"])
