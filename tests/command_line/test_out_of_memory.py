"""Running out of memory says what to change, in order, with the numbers of the run."""

from typing import Any

import pytest
import torch
from jsonargparse import Namespace, dict_to_namespace
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from command_line.main import run_command
from command_line.out_of_memory import explained, memory_fault
from command_line.tasks import Task
from formats.errors import InputError

FAULTS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "python": MemoryError(),
    "other": RuntimeError("shapes differ"),
}


class HungryModule(BoringModel):
    """Runs out of memory in its first step."""

    def __init__(self, kind: str = "cuda", gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.kind = kind

    def training_step(self, batch: Tensor, batch_idx: int) -> STEP_OUTPUT:
        raise FAULTS[self.kind]


class HungryDataModule(BoringDataModule):
    """Has a batch size."""

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()


TASKS = [Task("hungry", (f"{__name__}:HungryModule",), (f"{__name__}:HungryDataModule",))]
QUIET = ["--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def fit(*more: str) -> None:
    machine = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_epochs=1"]
    run_command(TASKS, ["fit", "--model=HungryModule", "--data=HungryDataModule", *machine, *QUIET, *more])


@pytest.mark.parametrize("kind", ["cuda", "cpu", "python"])
def test_a_training_step_without_memory(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        fit(f"--model.kind={kind}", "--trainer.precision=32-true")
    text = str(caught.value)
    assert text.startswith("fit: out of memory with batch size 32, gradient checkpointing off, precision 32-true (")
    first = (
        "(1) --data.batch_size 16 --trainer.accumulate_grad_batches 2; (2) --model.gradient_checkpointing true; (3) "
    )
    assert f"Change in this order until it fits: {first}" in text
    assert caught.value.__cause__ is FAULTS[kind]


def test_an_allocation_that_is_too_large_for_any_machine() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert memory_fault(caught.value) is caught.value


def test_a_fault_that_another_one_followed() -> None:
    def fails_twice() -> None:
        try:
            raise FAULTS["cuda"]
        finally:
            raise RuntimeError("cannot clean up")

    with pytest.raises(RuntimeError, match="clean up") as caught:
        fails_twice()
    assert memory_fault(caught.value) is FAULTS["cuda"]
    assert memory_fault(RuntimeError("cannot clean up")) is None


def test_other_faults_are_not_explained() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        fit("--model.kind=other")


def settings(model: dict[str, Any], data: dict[str, Any], precision: str = "32-true") -> Namespace:
    trainer = {"precision": precision, "accelerator": "auto", "accumulate_grad_batches": 2}
    parts = {"trainer": trainer, "model": {"init_args": model}, "data": {"init_args": data}}
    parsed: Namespace = dict_to_namespace(parts)
    return parsed


def test_what_is_already_changed_is_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    full = settings({"gradient_checkpointing": True, "window_chunk_size": None}, {"batch_size": 1, "image_size": 1536})
    text = str(explained(FAULTS["cuda"], "fit", full))
    assert "batch size 1, gradient checkpointing on, precision 32-true, image size 1536 (CUDA out of memory" in text
    assert "(1) --trainer.precision auto; (2) --model.window_chunk_size 8; (3) a smaller --data.image_size" in text
    text = str(explained(FAULTS["cuda"], "fit", settings({"frozen": []}, {"batch_size": 1})))
    assert "(1) --trainer.precision auto; (2) --model.frozen aggregator.*; (3) a smaller network" in text
    half = settings({}, {"batch_size": 8}, "bf16-mixed")
    text = str(explained(FAULTS["cuda"], "predict", half))
    assert "Change in this order until it fits: (1) --data.batch_size 4; (2) --trainer.accelerator cpu; see" in text
    text = str(explained(FAULTS["cuda"], "fit", settings({}, {"batch_size": 8})))
    assert "--data.batch_size 4 --trainer.accumulate_grad_batches 4" in text


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = str(explained(MemoryError(), "predict", settings({"tokenizer_path": "a"}, {"image_size": 256}, "auto")))
    assert text.startswith(
        "predict: out of memory with precision 32-true (MemoryError). Use a machine with more memory;"
    )
