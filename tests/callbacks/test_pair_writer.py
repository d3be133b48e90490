"""Note on the confidence of a predicted scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from callbacks.pair_writer import confidence_report
from networks.shipped_weights import ShippedWeights

QUANTILES = np.linspace(2.0, 4.0, 21).tolist()
SHIPPED = ShippedWeights("net", {}, {"data": "simulated scenes", "mean_confidence_quantiles": QUANTILES})


@pytest.mark.parametrize(("mean", "below"), [(1.5, 0.0), (2.05, 0.025), (3.0, 0.5), (9.0, 1.0)])
def test_confidence_is_ranked_among_the_test_scenes(mean: float, below: float) -> None:
    confidence = torch.tensor([[mean - 0.5, mean + 0.5]])
    report = confidence_report(confidence, SHIPPED)
    assert report["mean_confidence"] == pytest.approx(mean)
    assert report["test_scenes_below"] == pytest.approx(below)
    assert report["trained_on"] == "simulated scenes"
    assert "simulated scenes alone" in report["note"]
    assert ("unlike the training data" in report["note"]) == (below < 0.05)


def test_other_weights_have_no_scenes_to_compare_with() -> None:
    assert confidence_report(torch.full((2, 3), 1.5), None) == {"mean_confidence": 1.5}
