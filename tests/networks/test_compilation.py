"""The networks suit torch.compile and the flash kernels: no graph breaks, and attention that every backend accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.depth_pro import PRESETS as DEPTH_PRO
from networks.depth_pro import LayerIndexNet
from networks.lightning_dit import PRESETS as DIT
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.vggt import PRESETS as VGGT_PRESETS
from networks.vggt import VGGT

Build = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


def small_dit() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = LightningDiTConfig(hidden_size=32, depth=2, num_heads=2, num_classes=3, input_size=4)
    return LightningDiT(config), (torch.randn(2, 32, 4, 4), torch.rand(2), torch.tensor([0, 1]))


def small_vggt() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return VGGT(replace(VGGT_PRESETS["tiny"], camera_depth=1)), (torch.rand(1, 2, 3, 28, 28),)


def small_layers() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return LayerIndexNet(replace(DEPTH_PRO["tiny"], window=32)), (torch.rand(1, 3, 128, 128),)


@pytest.mark.slow
@pytest.mark.parametrize("build", [small_dit, small_vggt, small_layers])
def test_a_network_is_one_graph(build: Build) -> None:
    network, inputs = build()
    found = torch._dynamo.explain(network)(*inputs)
    assert [str(reason.reason)[:200] for reason in found.break_reasons] == []
    assert found.graph_count == 1


@pytest.mark.slow
def test_lightning_dit_compiles_whole() -> None:
    network, inputs = small_dit()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs), network(*inputs))


def full_dit() -> tuple[nn.Module, tuple[Tensor, ...]]:
    network = LightningDiT(replace(DIT["LightningDiT-XL/1"], depth=1, num_classes=3))
    return network, (torch.empty(2, 32, 16, 16), torch.empty(2), torch.empty(2, dtype=torch.long))


def full_vggt() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return VGGT(replace(VGGT_PRESETS["VGGT-1B"], depth=4, dpt_layers=(0, 1, 2, 3))), (torch.empty(1, 2, 3, 518, 518),)


def full_layers() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The encoder: the decoder has no attention, and autocast does not know the meta device."""
    return LayerIndexNet(DEPTH_PRO["DepthPro-L"]).encoder, (torch.empty(1, 3, 1536, 1536),)


@pytest.mark.parametrize(
    "build",
    [full_dit, pytest.param(full_vggt, marks=pytest.mark.slow), pytest.param(full_layers, marks=pytest.mark.slow)],
)
def test_attention_meets_the_preconditions_of_the_flash_kernel(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ``torch.backends.cuda.can_use_flash_attention`` checks: it needs a GPU to answer."""
    calls: list[tuple[Tensor, Tensor, Tensor]] = []
    attention = F.scaled_dot_product_attention

    def recorded(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
        assert attn_mask is None
        calls.append((q, k, v))
        return attention(q, k, v, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    with torch.device("meta"), torch.no_grad():
        network, inputs = build()
        network.to(torch.bfloat16)(*(part.bfloat16() if part.is_floating_point() else part for part in inputs))
    assert calls
    for q, k, v in calls:
        assert q.shape == k.shape == v.shape
        assert {q.dtype, k.dtype, v.dtype} == {torch.bfloat16}
        assert q.ndim == 4
        assert q.shape[-1] % 8 == 0
        assert q.shape[-1] <= 256
        assert all(part.stride(-1) == 1 for part in (q, k, v))
