from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch_fidelity import feature_extractor_inceptionv3 as inceptionv3
from torchmetrics.image.fid import NoTrainInceptionV3

import metrics.generation as generation
from formats.errors import InputError
from metrics.generation import (
    ClassifierScore,
    FrechetDistance,
    InceptionStatistics,
    find_inception,
    frechet_distance,
    nearest_neighbour_distances,
    within_user_diversity,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frechet(real: Tensor, generated: Tensor, batch: int = 1000) -> float:
    metric = FrechetDistance(real.shape[1])
    for features, side in ((real, True), (generated, False)):
        for part in features.split(batch):
            metric.update(part, real=side)
    return float(metric.compute())


def test_frechet_distance_agrees_with_scipy() -> None:
    real, generated = normal(200, 12) @ normal(12, 12, seed=1), 0.5 + 2 * normal(90, 12, seed=2)
    c1, c2 = np.cov(real.double().T.numpy()), np.cov(generated.double().T.numpy())
    between = (real.double().mean(0) - generated.double().mean(0)).square().sum().item()
    expected = between + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    assert frechet(real, generated) == pytest.approx(expected, rel=1e-6)
    assert frechet(real, generated, batch=7) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_known_gaussians() -> None:
    mean = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 0.0]).double()
    expected = 5 + (a.sqrt() - b.sqrt()).square().sum()
    rotation = torch.linalg.qr(normal(3, 3).double()).Q  # the same axes for both, so they still commute
    covariances = [rotation @ torch.diag(v) @ rotation.T for v in (a, b)]
    assert frechet_distance(mean, covariances[0], 0 * mean, covariances[1]) == pytest.approx(float(expected))


def test_frechet_distance_is_finite_below_full_rank() -> None:
    few, others = 100 + normal(5, 64), 100 + normal(6, 64, seed=1)
    assert math.isfinite(frechet(few, others))
    assert frechet(few, others) > 1
    assert frechet(few, few) == pytest.approx(0, abs=1e-4)
    constant = torch.ones(3, 8)
    assert frechet(constant, constant + 2) == pytest.approx(4 * 8)


def test_frechet_distance_names_what_is_missing() -> None:
    metric = FrechetDistance(4)
    metric.update(normal(3, 4), real=True)
    metric.update(normal(1, 4), real=False)
    with pytest.raises(InputError, match="3 real and 1 generated"):
        metric.compute()
    metric.update(torch.full((2, 4), torch.nan), real=False)
    with pytest.raises(InputError, match="generated features hold NaN"):
        metric.compute()
    with pytest.raises(InputError, match=r"\(2, 5\)"):
        metric.update(normal(2, 5), real=True)


def test_classifier_score_agrees_with_its_definition() -> None:
    logits = 3 * normal(50, 6)
    p = logits.double().softmax(1)
    expected = (p * (p.log() - p.mean(0).log())).sum(1).mean().exp()
    metric = ClassifierScore(6)
    for part in logits.split(8):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-9)


def test_classifier_score_bounds() -> None:
    for logits, expected in ((200 * torch.eye(5).repeat(4, 1), 5.0), (normal(1, 5).repeat(20, 1), 1.0)):
        metric = ClassifierScore(5)
        metric.update(logits)
        assert float(metric.compute()) == pytest.approx(expected)
    with pytest.raises(InputError, match="no samples"):
        ClassifierScore(5).compute()


def test_within_user_diversity_is_the_mean_over_users_of_mean_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    features, users = normal(40, 3), torch.tensor([0] * 25 + [4] * 14 + [7])
    expected = (torch.pdist(features[:25]).mean() + torch.pdist(features[25:39]).mean()) / 2
    for chunk in (512, 6):
        monkeypatch.setattr(generation, "_CHUNK", chunk)
        diversity = within_user_diversity(features, users)
        assert diversity.distance == pytest.approx(float(expected), rel=1e-5)
        assert (diversity.users_counted, diversity.users_left_out) == (2, 1)
    assert math.isnan(within_user_diversity(features[:2], torch.tensor([0, 1])).distance)
    assert within_user_diversity(torch.full((30, 3), 1e4), torch.zeros(30)).distance == 0


def test_nearest_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, references = normal(30, 4), normal(50, 4, seed=1)
    distances = (queries[:, None] - references).square().sum(2).sqrt()
    monkeypatch.setattr(generation, "_CHUNK", 7)
    nearest = nearest_neighbour_distances(queries, references)
    assert torch.equal(nearest.indices, distances.argmin(1))
    torch.testing.assert_close(nearest.distances.float(), distances.amin(1))
    far = 1e5 + references.double()  # where a small distance is lost between large squares
    copies = nearest_neighbour_distances(far[5:9] + 1e-5, far)
    torch.testing.assert_close(copies.distances, torch.full((4,), 2e-5).double(), rtol=1e-3, atol=0)
    assert copies.indices.tolist() == [5, 6, 7, 8]
    with pytest.raises(InputError, match="no references"):
        nearest_neighbour_distances(queries, references[:0])


class FakeInception(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.float().flatten(1) / 255
        return pixels[:, :6], 5 * pixels[:, 6:10]


def fake_inception() -> InceptionStatistics:
    generation._inception = lambda weights: FakeInception()
    InceptionStatistics._FEATURES, InceptionStatistics._LOGITS = 6, 4
    return InceptionStatistics(Path("fake"))


def images(count: int, seed: int) -> Tensor:
    return (255 * torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))).byte()


def test_inception_statistics_agree_with_our_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (generation, "_inception"),
        (InceptionStatistics, "_FEATURES"),
        (InceptionStatistics, "_LOGITS"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    statistics, network, state = fake_inception(), FakeInception(), torch.random.get_rng_state()
    for part in images(20, 0).split(6):
        statistics.update(part, real=True)
    statistics.update(images(15, 1) // 2, real=False)
    values = statistics.compute()
    (real, real_logits), (made, logits) = network(images(20, 0)), network(images(15, 1) // 2)
    scores = {"inception_score": logits, "inception_score_real": real_logits}
    for key, own in scores.items():
        score = ClassifierScore(4)
        score.update(own)
        assert values[key] == pytest.approx(float(score.compute()), rel=1e-5)
    assert values["frechet_distance_inception"] == pytest.approx(frechet(real, made), rel=1e-4)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_features_and_logits_are_those_of_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights, since nothing is downloaded; torchmetrics computes one kind of features at a time."""
    monkeypatch.setattr(inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
    with monkeypatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        torch.save(NoTrainInceptionV3("inception-v3-compat", ["2048"]).state_dict(), tmp_path / "inception.pth")
    features, logits = generation._inception(tmp_path / "inception.pth")(images(2, 0))
    for name, values in (("2048", features), ("logits_unbiased", logits)):
        network = NoTrainInceptionV3("inception-v3-compat", [name], str(tmp_path / "inception.pth"))
        torch.testing.assert_close(values, network(images(2, 0)))


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran_code"),)


def test_inception_weights_are_read_without_running_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Malicious()))
    torch.save({"layer": Malicious()}, tmp_path / "evil_zip.pth")
    torch.save({"layer.weight": torch.ones(2)}, tmp_path / "other.pth")
    for name in ("evil.pth", "evil_zip.pth", "other.pth"):
        with pytest.raises(InputError, match="does not hold Inception's weights"):
            InceptionStatistics(tmp_path / name)
    assert not (tmp_path / "ran_code").exists()


def test_inception_weights_are_found_where_torch_hub_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert find_inception(None) is None
    kept = tmp_path / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth"
    kept.parent.mkdir()
    kept.touch()
    assert find_inception(None) == kept
    with pytest.raises(InputError, match="no such file"):
        find_inception(str(tmp_path / "nothing.pth"))


def measured(first: int, last: int, statistics: InceptionStatistics) -> list[float]:
    """Values of samples first … last of what one process alone would add."""
    features, logits = 3 + normal(31, 5), 2 * normal(31, 4, seed=1)
    distance, score = FrechetDistance(5), ClassifierScore(4)
    distance.update(features[first:last], real=True)
    distance.update(1.5 * features[first:last].abs(), real=False)
    score.update(logits[first:last])
    for part in images(31, 2)[first:last].split(5):  # many batches in one process, none in the other
        statistics.update(part, real=True)
        statistics.update(part // 3, real=False)
    return [float(distance.compute()), float(score.compute()), *statistics.compute().values()]


def one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    uneven = measured(*((0, 24), (24, 31))[rank], statistics=fake_inception())
    nothing_in_one = measured(*((0, 31), (31, 31))[rank], statistics=fake_inception())
    torch.save([uneven, nothing_in_one], folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (generation, "_inception"),
        (InceptionStatistics, "_FEATURES"),
        (InceptionStatistics, "_LOGITS"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    expected = measured(0, 31, fake_inception())
    spawn(one_of_two, (tmp_path,), nprocs=2)
    for rank in (0, 1):
        for values in torch.load(tmp_path / f"{rank}.pt"):
            assert values == pytest.approx(expected, rel=1e-4)
            assert values[:2] == pytest.approx(expected[:2], rel=1e-9)
    assert measured(0, 24, fake_inception()) != pytest.approx(expected, rel=1e-3)  # a part alone would differ
