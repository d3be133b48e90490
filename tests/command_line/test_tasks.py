"""The registry of tasks: names, lazy imports, and that every entry exists."""

import inspect
import sys
import types

import pytest
from lightning import Callback, LightningDataModule, LightningModule

from cli import TASKS
from command_line.tasks import (
    SHARED_CALLBACKS,
    TOOL_GROUPS,
    Task,
    UsageError,
    classes_by_name,
    import_named_classes,
    load,
    load_tool,
    short_name,
    summary,
    task_of,
    tool_targets,
)


@pytest.mark.parametrize(
    ("group", "base"), [("modules", LightningModule), ("datamodules", LightningDataModule), ("callbacks", Callback)]
)
def test_every_registered_class_exists(group: str, base: type) -> None:
    targets = [target for task in TASKS for target in getattr(task, group)]
    assert targets
    for target in targets:
        assert issubclass(load(target), base), target


@pytest.mark.parametrize("group", TOOL_GROUPS)
def test_every_tool_exists_and_is_summarised(group: str) -> None:
    for command, target in tool_targets(TASKS, group).items():
        function = load_tool(TASKS, group, command)
        assert function.__name__ == command.replace("-", "_")
        assert summary(target) == (inspect.getdoc(function) or "").splitlines()[0]


def test_short_names_are_distinct() -> None:
    names = [short_name(target) for task in TASKS for target in task.classes()]
    names += map(short_name, SHARED_CALLBACKS)
    assert len(names) == len(set(names)) == len(classes_by_name(TASKS))


def test_unknown_tools_are_refused() -> None:
    with pytest.raises(UsageError, match="prepare: unknown command 'layer'.*layers"):
        load_tool(TASKS, "prepare", "layer")


def test_task_of_a_class() -> None:
    layers = task_of(TASKS, "LayerWriter")
    assert layers is not None
    assert layers.title == "layer index"
    assert task_of(TASKS, "ModelCheckpoint") is None


def test_only_classes_that_are_named_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []

    class Spy(types.ModuleType):
        def __getattr__(self, name: str) -> type:
            imported.append(name)
            return object

    monkeypatch.setitem(sys.modules, "spied", Spy("spied"))
    task = Task("spied", modules=("spied:NamedModule", "spied:OtherModule"), callbacks=("spied:Drawing",))
    import_named_classes([task], ["class_path: NamedModule", "--trainer.callbacks=[{class_path: Drawing}]"])
    assert imported == ["NamedModule", "Drawing"]
