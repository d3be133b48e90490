"""Description of the first training batch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from callbacks.batch_description import describe_batch
from tests.support.tiny_tasks import TASKS, tiny_trainer

KEYS = {
    "microdoppler": ["latents", "classes"],
    "pair": ["images", "depths", "extrinsics", "point_masks", "seq_name"],
    "layers": ["images", "orders", "masks", "layer_counts"],
}


@pytest.mark.parametrize("task", TASKS)
def test_one_batch_of_each_task_is_described_once(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, data = TASKS[task](tmp_path, batch_size=2)
    tiny_trainer(describe_batch=True, limit_train_batches=2, max_epochs=2).fit(module, data)
    out = capsys.readouterr().out
    assert out.count("first training batch:") == 1
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert rows.keys() >= set(KEYS[task])
    if task == "pair":
        assert "[2, 2, 42, 56] bool" in rows["point_masks"]
        assert "% valid" in rows["point_masks"]


def test_the_trainer_describes_nothing_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, data = TASKS["microdoppler"](tmp_path)
    tiny_trainer(limit_train_batches=1).fit(module, data)
    assert "first training batch" not in capsys.readouterr().out


def test_unusual_values_are_described() -> None:
    batch = {
        "broken": torch.tensor([math.nan, 1.0, 3.0, math.inf]),
        "lost": torch.tensor([math.nan]),
        "empty": torch.zeros(0, 3),
        "ids": torch.tensor([4, 2]),
        "names": [],
        "count": 3,
    }
    text = {line.split()[0]: " ".join(line.split()[1:]) for line in describe_batch(batch)}
    assert text["broken"] == "[4] float32 1 to 3, mean 2, 50.0 % NaN or infinite"
    assert text["lost"] == "[1] float32 100.0 % NaN or infinite"
    assert text["empty"] == "[0, 3] float32 empty"
    assert text["ids"] == "[2] int64 2 to 4"
    assert text["names"] == "0 values"
    assert text["count"] == "int 3"
    assert describe_batch(torch.ones(2, dtype=torch.bool)) == ["  batch  [2] bool  100.0 % valid"]
