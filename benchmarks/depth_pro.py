"""Speed and memory of the layer index network, compared with a forward pass written like Depth Pro's published code.

python benchmarks/depth_pro.py --out benchmarks/results/depth_pro_cpu.json
python benchmarks/depth_pro.py --size DepthPro-L --device cuda --out benchmarks/results/depth_pro_gpu.json

The plain forward pass has the same weights, timm's ViTs, and all windows in one batch, as published. It cuts windows
out of the pixels in a loop and embeds each, takes block outputs with forward hooks, merges windows in a loop, and runs
convolutions on contiguous tensors. The published field-of-view branch is timed separately: its time would have to be
added to that of the plain forward pass.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formats.atomic import write_json
from networks.depth_pro import PRESETS, DepthProConfig, LayerIndexNet
from networks.depth_pro.decoder import Fusion
from networks.depth_pro.encoder import Encoder

# Full-size images on a CPU, with about the published ratio of work in ViTs and convolutions.
SMALL = DepthProConfig(
    vit="vit_small_patch14_dinov2",
    embed_dim=256,
    depth=12,
    num_heads=4,
    hook_blocks=(2, 5),
    encoder_dims=(64, 128, 256, 256),
    decoder_features=64,
)


class PlainForward(nn.Module):
    """Depth Pro's forward pass through the modules of ``network``, with the same weights."""

    def __init__(self, network: LayerIndexNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1, H, W)."""
        logits: Tensor = self.network.head(self.decoded(self.encoded(image)))
        return logits.sigmoid()

    def encoded(self, image: Tensor) -> list[Tensor]:
        """Compute the encoder's five levels."""
        encoder, batch, window = self.network.encoder, len(image), image.shape[-1] // 4
        half, quarter = (
            F.interpolate(image, scale_factor=s, mode="bilinear", align_corners=False) for s in (0.5, 0.25)
        )
        windows = torch.cat([*cut_out(image, window, 3 * window // 4), *cut_out(half, window, window // 2), quarter])
        outputs: list[Tensor] = []
        blocks = [encoder.patch_encoder.blocks[index] for index in encoder.hook_blocks]
        hooks = [block.register_forward_hook(lambda _, __, output: outputs.append(output)) for block in blocks]
        tokens = self.as_maps(encoder, encoder.patch_encoder(windows))
        for hook in hooks:  # the other forward pass uses the same blocks
            hook.remove()
        shallow, deep = (self.as_maps(encoder, output) for output in outputs)
        whole = self.as_maps(encoder, encoder.image_encoder(quarter))
        side = encoder.tokens
        low = torch.cat([encoder.upsample2(tokens[34 * batch :]), encoder.upsample_lowres(whole)], dim=1)
        return [
            encoder.upsample_latent0(pasted(shallow[: 25 * batch], batch, 5, side // 8)),
            encoder.upsample_latent1(pasted(deep[: 25 * batch], batch, 5, side // 8)),
            encoder.upsample0(pasted(tokens[: 25 * batch], batch, 5, side // 8)),
            encoder.upsample1(pasted(tokens[25 * batch : 34 * batch], batch, 3, side // 4)),
            encoder.fuse_lowres(low),
        ]

    @staticmethod
    def as_maps(encoder: Encoder, tokens: Tensor) -> Tensor:
        """Tokens (N, 1 + T, C) → (N, C, √T, √T) without the class token."""
        maps: Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, (encoder.tokens, encoder.tokens))
        return maps.contiguous()

    def decoded(self, levels: list[Tensor]) -> Tensor:
        """Compute the decoder's features."""
        decoder = self.network.decoder
        x: Any = None
        for conv, fusion, level in reversed(list(zip(decoder.convs, decoder.fusions, levels, strict=True))):
            assert isinstance(fusion, Fusion)
            level = conv(level)
            x = level if x is None else x + residual(fusion.resnet1, level)
            x = residual(fusion.resnet2, x)
            x = fusion.out_conv(x if fusion.deconv is None else fusion.deconv(x))
        features: Tensor = x
        return features


def residual(unit: Any, x: Tensor) -> Tensor:
    _, first, _, second = unit.residual
    change: Tensor = second(F.relu(first(F.relu(x))))
    return x + change


def cut_out(image: Tensor, window: int, stride: int) -> Iterable[Tensor]:
    """Cut windows out of an image, row by row."""
    starts = range(0, image.shape[-1] - window + 1, stride)
    return [image[..., y : y + window, x : x + window] for y in starts for x in starts]


def pasted(windows: Tensor, batch: int, count: int, cut: int) -> Tensor:
    """Paste windows into one map, without ``cut`` tokens at each inner border."""
    rows = []
    for y in range(count):
        row = []
        for x in range(count):
            part = windows[(y * count + x) * batch : (y * count + x + 1) * batch]
            part = part[..., cut if y else 0 :, cut if x else 0 :]
            part = part[..., : part.shape[-2] - (cut if y < count - 1 else 0), :]
            row.append(part[..., : part.shape[-1] - (cut if x < count - 1 else 0)])
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)


class FieldOfView(nn.Module):
    """The published branch: a third ViT over the whole image, and convolutions."""

    def __init__(self, network: LayerIndexNet) -> None:
        super().__init__()
        self.vit, self.tokens = (
            network.encoder.image_encoder,
            network.encoder.tokens,
        )  # the time does not depend on the weights
        features = network.config.decoder_features
        a, b, c = features // 2, features // 4, features // 8
        self.project = nn.Linear(self.vit.embed_dim, a)
        self.downsample = nn.Sequential(nn.Conv2d(features, a, 3, 2, 1), nn.ReLU())
        self.head = nn.Sequential(
            nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(), nn.Conv2d(b, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, 1, self.tokens // 4)
        )

    def forward(self, image: Tensor, lowres: Tensor) -> Tensor:
        """An image (B, 3, H, W) and the decoder's coarsest level → (B, 1, 1, 1)."""
        quarter = F.interpolate(image, scale_factor=0.25, mode="bilinear", align_corners=False)
        x = self.project(self.vit(quarter))[:, 1:].transpose(1, 2).unflatten(2, (self.tokens, self.tokens))
        angle: Tensor = self.head(x + self.downsample(lowres))
        return angle


class Bench:
    """Times work on one device and reads its peak memory."""

    def __init__(self, device: str, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def in_turns(self, **works: Callable[[], object]) -> dict[str, float]:
        """Return median seconds of each work after a warm-up; works alternate, so that slow phases affect all of them.

        For works named ours and plain, the ratio is added.
        """
        times: dict[str, list[float]] = {name: [] for name in works}
        peaks = {}
        for _ in range(self.repeats + 1):
            for name, work in works.items():
                if self.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                work()
                if self.device == "cuda":
                    torch.cuda.synchronize()
                    peaks[f"peak GiB {name}"] = torch.cuda.max_memory_allocated() / 2**30
                times[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        ratio = {"ratio": medians["plain"] / medians["ours"]} if works.keys() == {"ours", "plain"} else {}
        return {f"seconds {name}": seconds for name, seconds in medians.items()} | ratio | peaks


def build(size: str, device: str, **options: Any) -> LayerIndexNet:
    torch.manual_seed(0)
    network = LayerIndexNet(SMALL if size == "small" else PRESETS[size], **options)
    # A new network predicts about 0.5 everywhere, which would hide differences.
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        elif name.endswith("gamma"):
            torch.nn.init.ones_(parameter)
    return network.to(device)


def compared(size: str, bench: Bench, batch: int) -> dict[str, dict[str, float]]:
    """Time forward and backward passes and compare them with the plain forward pass, in float32 and bf16."""
    network = build(size, bench.device)
    plain = PlainForward(network)
    image = torch.rand(batch, 3, network.image_size, network.image_size, device=bench.device) * 2 - 1

    def forward(module: nn.Module, mixed: bool) -> Tensor:
        with torch.autocast(bench.device, torch.bfloat16, enabled=mixed):
            index: Tensor = module(image)
        return index

    def step(module: nn.Module, mixed: bool) -> None:
        network.zero_grad(set_to_none=True)
        forward(module, mixed).float().mean().backward()

    with torch.no_grad():
        ours, theirs = network(image), plain(image)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    numbers = {"largest difference": (ours - theirs).abs().max().item(), "spread of the index": ours.std().item()}
    results = {"numbers": numbers}
    for name, mixed in (("float32", False), ("bf16-mixed", True)):
        with torch.no_grad():
            results[f"forward, {name}"] = bench.in_turns(
                ours=partial(forward, network, mixed), plain=partial(forward, plain, mixed)
            )
        results[f"forward and backward, {name}"] = bench.in_turns(
            ours=partial(step, network, mixed), plain=partial(step, plain, mixed)
        )
    return results


def options(size: str, bench: Bench, batch: int) -> dict[str, dict[str, float]]:
    """Time and memory of the options: a training step in bf16 with each, and a forward pass in chunks."""
    whole, recomputed = build(size, bench.device), build(size, bench.device, gradient_checkpointing=True)
    chunked = build(size, bench.device, window_chunk_size=7)
    image = torch.rand(batch, 3, whole.image_size, whole.image_size, device=bench.device) * 2 - 1

    def step(network: nn.Module) -> None:
        with torch.autocast(bench.device, torch.bfloat16):
            index = network(image)
        index.mean().backward()
        network.zero_grad(set_to_none=True)

    works = {"whole": partial(step, whole), "recomputed": partial(step, recomputed)}
    if bench.device == "cuda":
        compiled = build(size, bench.device)
        compiled.compile(fullgraph=True)
        works["compiled"] = partial(step, compiled)
    results = {"training step, bf16-mixed": bench.in_turns(**works)}
    with torch.no_grad():
        results["forward, float32"] = bench.in_turns(
            **{"whole": partial(whole, image), "7 windows at a time": partial(chunked, image)}
        )
    return results


@torch.no_grad()
def parts(size: str, bench: Bench, batch: int) -> dict[str, dict[str, float]]:
    """Time of the parts of the forward pass, of both memory formats, and of the omitted branch."""
    network = build(size, bench.device)
    branch = FieldOfView(network).to(bench.device)
    image = torch.rand(batch, 3, network.image_size, network.image_size, device=bench.device) * 2 - 1
    levels = network.encode(image)
    contiguous = [level.contiguous() for level in levels]
    lowres = network.decoder.convs[-1](levels[-1])
    works: dict[str, Callable[[], object]] = {
        "encode": partial(network.encode, image),
        "decoder and head, channels-last": lambda: network.head(network.decode(levels)),
        "decoder and head, contiguous": lambda: network.head(network.decode(contiguous)),
        "published field-of-view branch": partial(branch, image, lowres),
    }
    return {"forward, float32": bench.in_turns(**works)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", default="small", choices=["small", *PRESETS], help="small is narrow, at full resolution"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2, help="after one warm-up")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    bench = Bench(arguments.device, arguments.repeats)
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else None
    sized = (arguments.size, bench, arguments.batch_size)
    figures = {
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "command": f"python benchmarks/depth_pro.py --size {arguments.size} --device {arguments.device}"
        f" --batch_size {arguments.batch_size} --repeats {arguments.repeats}",
        "torch": torch.__version__,
        "compared with the plain forward pass": compared(*sized),
        "parts": parts(*sized),
        "options": options(*sized),
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
