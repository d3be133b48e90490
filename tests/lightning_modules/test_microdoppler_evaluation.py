from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

import lightning_modules.microdoppler_measures as measures
import metrics.generation as generation
from formats.errors import InputError
from lightning_modules.classifier_training import fit_classifier
from lightning_modules.microdoppler_evaluation import MicroDopplerEvaluation
from lightning_modules.microdoppler_measures import Results
from metrics.generation import InceptionStatistics

USERS = 4
Set = tuple[Tensor, Tensor]


def walkers(count: int, seed: int) -> Set:
    """Noise with a swinging bright line; its height and swing are the user's, its phase the image's."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.arange(count) % USERS
    images = torch.randint(0, 100, (count, 3, 64, 64), generator=generator, dtype=torch.uint8)
    phase = 6.28 * torch.rand(count, 1, generator=generator)
    time = torch.arange(64)
    rows = (18 + 8 * users[:, None] + (2 + users[:, None]) * torch.sin(time / 4 + phase)).long()
    images[torch.arange(count)[:, None], :, rows, time] = 230
    return images, users


TRAIN, VAL, NEW = walkers(160, 0), walkers(60, 1), walkers(48, 2)


quick_fit = partial(fit_classifier, steps=40, batch_size=16)


@pytest.fixture(autouse=True, scope="module")
def quick_and_without_inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder, threads = tmp_path_factory.mktemp("hub"), torch.get_num_threads()
    torch.set_num_threads(1)  # faster for small work on a shared machine, and sums in the order of the processes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "fit_classifier", quick_fit)
        patch.setattr(torch.hub, "get_dir", lambda: str(folder))
        yield
    torch.set_num_threads(threads)


def evaluated(generated: Set, train: Set = TRAIN, val: Set = VAL) -> Results:
    evaluation = MicroDopplerEvaluation(USERS)
    evaluation.add_real(*train, split="train")
    evaluation.add_real(*val, split="val")
    evaluation.add_generated(*generated)
    return evaluation.compute()


def numbers(results: Results) -> dict[str, float]:
    return {name: value for name, value in results.items() if not isinstance(value, str)}


@pytest.fixture(scope="module")
def good() -> Results:
    with torch.inference_mode():  # as Lightning runs a test
        return evaluated((NEW[0].clone(), NEW[1].clone()))


def test_samples_as_good_as_real_ones(good: Results) -> None:
    values = numbers(good)
    for key in ("accuracy_real_to_real", "accuracy_real_to_generated", "accuracy_generated_to_real"):
        assert values[key] > 0.85, key
    assert values["frechet_distance_classifier"] < 3 * values["frechet_distance_classifier_real"]
    assert values["frechet_distance_classifier_real"] < 3 * values["frechet_distance_classifier"]
    assert 0.7 * USERS < values["inception_score_classifier"] <= USERS
    assert values["within_user_diversity_classifier_ratio"] == pytest.approx(1, abs=0.3)
    assert values["nearest_train_distance_classifier_ratio"] == pytest.approx(1, abs=0.4)
    assert values["closer_than_real_share"] < 0.2
    assert (values["num_train"], values["num_val"], values["num_generated"]) == (160, 60, 48)
    by_user = [values[f"accuracy_real_to_generated_user_{user}"] for user in range(USERS)]
    assert sum(by_user) / USERS == pytest.approx(values["accuracy_real_to_generated"], abs=1e-6)
    assert str(good["inception"]).startswith("weights not found at ")
    assert "inception_score" not in good


@pytest.mark.slow
def test_copies_of_training_images_are_detected() -> None:
    copies = (TRAIN[0][:48], TRAIN[1][:48])
    results = numbers(evaluated(copies))
    assert results["nearest_train_distance_classifier_ratio"] == pytest.approx(0, abs=1e-3)
    assert results["closer_than_real_share"] == 1
    assert results["accuracy_real_to_generated"] > 0.85  # which alone would look perfect


@pytest.mark.slow
def test_noise_repeats_and_wrong_users_are_detected(good: Results) -> None:
    noise = torch.randint(0, 256, NEW[0].shape, generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    repeats = torch.cat([NEW[0][:USERS]] * 12)
    cases = ((noise, NEW[1]), (repeats, NEW[1]), (NEW[0], NEW[1].roll(7)))
    noisy, repeated, wrong = (numbers(evaluated(case)) for case in cases)
    real = numbers(good)
    assert noisy["accuracy_real_to_generated"] < 0.6
    assert noisy["frechet_distance_classifier"] > 5 * real["frechet_distance_classifier"]
    assert repeated["within_user_diversity_classifier_ratio"] == pytest.approx(0, abs=1e-3)
    assert wrong["accuracy_real_to_generated"] < 0.1  # every image assigned to another user
    assert wrong["accuracy_generated_to_real"] < 0.2
    assert wrong["frechet_distance_classifier"] == pytest.approx(real["frechet_distance_classifier"], rel=0.01)


@pytest.mark.slow
def test_users_that_were_not_generated_are_left_out_of_the_comparison() -> None:
    some = NEW[1] >= 2
    results = numbers(evaluated((NEW[0][some], NEW[1][some])))
    assert results["num_users_generated"] == 2
    assert results["accuracy_generated_to_real"] > 0.85  # of all four users it could be a half at most
    assert results["frechet_distance_classifier"] < 3 * results["frechet_distance_classifier_real"]
    assert "accuracy_real_to_generated_user_0" not in results


@pytest.mark.slow
def test_padding_rows_and_order_change_nothing(good: Results) -> None:
    evaluation = MicroDopplerEvaluation(USERS)
    order = torch.randperm(160, generator=torch.Generator().manual_seed(0))
    for rows in order.split(50):
        evaluation.add_real(TRAIN[0][rows], TRAIN[1][rows], "train", weights=torch.ones(len(rows)))
    evaluation.add_real(*VAL, "val")
    padded = torch.cat([torch.arange(48), torch.arange(9)])
    evaluation.add_generated(NEW[0][padded], NEW[1][padded], weights=(torch.arange(57) < 48).float())
    assert evaluation.compute() == good
    evaluation.reset()
    with pytest.raises(InputError, match="0 train images"):
        evaluation.compute()


class FakeInception(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.float().mean(dim=3).flatten(1) / 255
        return pixels[:, :6], 5 * pixels[:, 6:10]


@pytest.mark.slow
def test_inception_measures_join_where_there_are_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_inception", lambda weights: FakeInception())
    monkeypatch.setattr(InceptionStatistics, "_FEATURES", 6)
    monkeypatch.setattr(InceptionStatistics, "_LOGITS", 4)
    (tmp_path / "weights.pth").touch()
    evaluation = MicroDopplerEvaluation(USERS, inception_weights=str(tmp_path / "weights.pth"))
    with torch.inference_mode():
        evaluation.add_real(*TRAIN, split="train")
        evaluation.add_real(VAL[0][:30], VAL[1][:30], "val")
    evaluation.add_real(VAL[0][30:], VAL[1][30:], "val")
    evaluation.add_generated(*VAL)
    results = evaluation.compute()
    assert results["inception"] == f"weights from {tmp_path / 'weights.pth'}"
    assert results["frechet_distance_inception"] == pytest.approx(0, abs=1e-6)  # the same images on both sides
    assert results["inception_score"] == pytest.approx(results["inception_score_real"], rel=1e-5)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights\.pth: no such file"):
        MicroDopplerEvaluation(USERS, inception_weights=str(tmp_path / "weights.pth"))
    with pytest.raises(InputError, match="cannot be classified"):
        MicroDopplerEvaluation(1)
    evaluation = MicroDopplerEvaluation(USERS)
    with pytest.raises(InputError, match=r"float32 images of shape \(60, 3, 64, 64\)"):
        evaluation.add_real(VAL[0].float(), VAL[1], "val")
    with pytest.raises(InputError, match="from 0 to 3"):
        evaluation.add_generated(NEW[0], NEW[1] + 1)
    with pytest.raises(InputError, match="1 val images of the users generated"):
        evaluated(NEW, val=(VAL[0][:1], VAL[1][:1]))


def one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.hub.set_dir(str(folder))
    setattr(measures, "fit_classifier", quick_fit)  # noqa: B010
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    evaluation = MicroDopplerEvaluation(USERS)
    if rank == 1:  # the first process has no training image at all
        evaluation.add_real(*TRAIN, split="train")
    part = slice(0, 41) if rank == 0 else slice(41, None)
    evaluation.add_real(VAL[0][part], VAL[1][part], "val")
    evaluation.add_generated(NEW[0][part], NEW[1][part])
    results = evaluation.compute()
    evaluation.reset()
    with pytest.raises(InputError, match="0 train images"):  # in both, and neither waits for the other
        evaluation.compute()
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path: Path, good: Results) -> None:
    spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    assert first.pop("inception").startswith("weights not found")
    assert first.pop("worst_measure") == good["worst_measure"]
    expected = {key: value for key, value in good.items() if key not in ("inception", "worst_measure")}
    assert first == pytest.approx(expected, rel=1e-6)
