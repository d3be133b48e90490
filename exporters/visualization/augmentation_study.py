"""Figure of accuracies with and without generated training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import render_figure

_LINES = (("real", "real alone", "o-"), ("with_generated", "real and generated", "s-"))


def accuracy_figure(summary: Sequence[Mapping[str, float]], num_users: int) -> NDArray[np.uint8]:
    """Draw means over the seeds, with standard deviations as bars.

    Args:
        summary: For each number of images ``real_per_user``, ``real_mean``, ``real_std``, ``with_generated_mean`` and
            ``with_generated_std``; accuracies in 0…1.
        num_users: Number of users, which sets the accuracy of guessing.

    Returns:
        (H, W, 3).
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes, counts = figure.add_subplot(), [entry["real_per_user"] for entry in summary]
    for place, (name, label, style) in enumerate(_LINES):
        means, deviations = ([100 * entry[f"{name}_{kind}"] for entry in summary] for kind in ("mean", "std"))
        shifted = [count * (0.985, 1.015)[place] for count in counts]  # so that the bars do not hide each other
        axes.errorbar(shifted, means, deviations, fmt=style, capsize=4, label=label)
    axes.axhline(100 / num_users, color="grey", linestyle=":", label="guessing")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("real training images per user")
    axes.set_ylabel("accuracy on real validation images, %")
    axes.set_ylim(0, 105)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return render_figure(figure)
