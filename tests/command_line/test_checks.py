"""Names and values of options are checked against the classes that take them."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from lightning import Callback, LightningModule

from command_line.checks import check_names, refuse_wrong_value
from command_line.settings import read_sources
from command_line.tasks import Task, UsageError


@dataclass(frozen=True)
class Sizes:
    depth: int = 2
    width: int | None = None


class CheckModule(LightningModule):
    def __init__(self, network: Sizes = Sizes(), mode: Literal["mean", "sample"] = "mean", rate: float = 0.1) -> None:
        super().__init__()


class ToyCallback(Callback):
    def __init__(self, every_n_epochs: int = 1) -> None: ...


class AnyCallback(Callback):
    def __init__(self, **kwargs: Any) -> None: ...


TASKS = [
    Task("toy", modules=(f"{__name__}:CheckModule",), callbacks=(f"{__name__}:ToyCallback", f"{__name__}:AnyCallback"))
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model=CheckModul"], "--model: unknown class CheckModul. Did you mean 'CheckModule'?"),
        (["--model=Layers"], "--model: unknown class Layers. Choose from CheckModule."),
        (
            ["--model=CheckModule", "--model.rat=1"],
            "--model.rat: CheckModule does not take this .* Did you mean 'rate'",
        ),
        (
            ["--model.zzz=1", "--model=CheckModule"],
            "--model.zzz: CheckModule .* It takes network, mode, rate.",
        ),
        (["--model=CheckModule", "--model.network.dept=1"], "--model.network.dept: Sizes .* Did you mean 'depth'"),
        (["--trainer.max_epoch=1"], "--trainer.max_epoch: Trainer does not take .* Did you mean 'max_epochs'"),
        (["--trainer.callbacks+=ToyCallbac"], "--trainer.callbacks: unknown class ToyCallbac. Did you mean"),
        (["--trainer.callbacks=[{class_path: EMAA}]"], "--trainer.callbacks: unknown class EMAA. Choose from"),
        (["--trainer.callbacks+=ToyCallback", "--trainer.callbacks.every=2"], "--trainer.callbacks.every: ToyCallback"),
        (["--trainer.logger=CSVLoger"], "--trainer.logger: unknown class CSVLoger. Did you mean 'CSVLogger'"),
        (["--modle.network.depth=1"], "^--modle.network.depth: there is no .* Did you mean '--model.network.depth'?"),
        (["--max_epoch=1"], "^--max_epoch: there is no such option. Did you mean '--max_epochs'?"),
        (["--config={traner: {max_epochs: 1}}"], "^--config: there is no setting 'traner'. Did you mean 'trainer'?"),
        (["--trainer.logger=CSVLogger", "--trainer.logger.nam=a"], "--trainer.logger.nam: .* Did you mean 'name'"),
    ],
)
def test_wrong_names_are_refused_with_a_suggestion(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_names(read_sources(words), TASKS)


@pytest.mark.parametrize(
    "words",
    [
        ["--model=CheckModule", "--model.rate=1", "--model.network.depth=3", "--trainer.precision=auto"],
        ["--model=somewhere.else.Module", "--model.anything=1"],
        ["--model.rate=1"],  # the class may be in a checkpoint
        ["--trainer.callbacks=AnyCallback", "--trainer.callbacks.anything=1"],
        ["--trainer.callbacks=[ModelCheckpoint]", "--trainer.logger=false", "--ckpt_path=a.ckpt"],
        [f"--model={__name__}.CheckModule", "--model.rate=2"],
    ],
)
def test_right_names_pass(words: list[str]) -> None:
    check_names(read_sources(words), TASKS)
    refuse_wrong_value(read_sources(words), TASKS)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.rate=fast", "--model.rate: 'fast' is not a valid value. Give a value of type float."),
        ("--model.mode=median", "--model.mode: 'median' .* type 'mean' | 'sample'."),
        ("--model.mode=sampel", "--model.mode: 'sampel' is not .* Did you mean 'sample'. Give a value of type"),
        ("--model.network.depth=x", "--model.network.depth: 'x' .* type int."),
        ("--model.network.width=x", "--model.network.width: 'x' .* type int | None."),
        ("--trainer.precision=low", "--trainer.precision: 'low' is not .* 'auto' | '32-true'"),
        ("--trainer.max_epochs=many", "--trainer.max_epochs: 'many'"),
    ],
)
def test_wrong_values_are_refused(word: str, message: str) -> None:
    sources = read_sources(["--model=CheckModule", word])
    check_names(sources, TASKS)
    with pytest.raises(UsageError, match=message):
        refuse_wrong_value(sources, TASKS)


def test_arguments_of_a_class_that_is_replaced_are_not_checked() -> None:
    """A later file may choose another class; the parser then drops the arguments of the first."""
    replaced = "{model: {class_path: other.Module, init_args: {a: 1}}}"
    check_names(read_sources(["--config", replaced, "--model=CheckModule"]), TASKS)
