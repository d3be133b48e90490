from __future__ import annotations

from typing import Any

import pytest

from datamodules.sample_requests import SampleRequestDataModule, sample_request_loader
from formats.errors import InputError


def requests(rank: int = 0, world_size: int = 1) -> list[list[tuple[int, int]]]:
    loader = sample_request_loader([2, 5], samples_per_user=3, batch_size=4, rank=rank, world_size=world_size)
    return [list(zip(b["user_ids"].tolist(), b["indices"].tolist(), strict=True)) for b in loader]


def test_requests_go_user_by_user() -> None:
    assert requests() == [[(2, 0), (2, 1), (2, 2), (5, 0)], [(5, 1), (5, 2)]]


def test_processes_share_whole_batches() -> None:
    assert requests(0, 2) + requests(1, 2) == requests()
    assert requests(2, 3) == []


def test_repeated_users_are_requested_once() -> None:
    data = SampleRequestDataModule(user_ids=[5, 2, 5], samples_per_user=1)
    assert next(iter(data.predict_dataloader()))["user_ids"].tolist() == [2, 5]


def test_users_must_be_known() -> None:
    with pytest.raises(InputError, match=r"--data\.user_ids: is not set.*--ckpt_path"):
        SampleRequestDataModule().predict_dataloader()


@pytest.mark.parametrize("wrong", [{"samples_per_user": 0}, {"batch_size": 0}, {"user_ids": []}])
def test_empty_requests_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="requests nothing"):
        SampleRequestDataModule(**wrong)
