"""Export of trained and published networks to ONNX and torch.export."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule

from exporters.network_graph import (
    TOLERANCE,
    NetworkGraph,
    decoder_graph,
    layer_index_graph,
    scene_graph,
    velocity_graph,
    write_graph,
)
from formats.atomic import write_json
from formats.errors import InputError, check_settings
from formats.training_checkpoint import read_training_checkpoint
from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.checkpoints import load_published
from networks.depth_pro import DepthProConfig
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.tokenizers import LappedPCA, load_tokenizer
from networks.vggt import VGGT, VGGTConfig
from prepare.trained_module import load_trained

Source = Literal["trained", "lightning_dit", "vggt", "depth_pro", "vavae"]
MODULES: dict[type, type[LightningModule]] = {
    LightningDiTConfig: UserConditionedDiTModule,
    VGGTConfig: PairDepthCameraModule,
    DepthProConfig: LayerIndexModule,
}
IMAGENET_CLASSES = 1000
PATCH = 14  # pixels; sides of VGGT's images are multiples of it


@dataclass(frozen=True)
class _Sizes:
    height: int
    width: int
    views: int
    batch_size: int


def export_network(
    checkpoint: Path,
    out: Path,
    network: Source = "trained",
    height: int | None = None,
    width: int | None = None,
    views: int = 2,
    batch_size: int = 1,
    tolerance: float = TOLERANCE,
) -> None:
    """Write a network as ONNX or torch.export file for other programs, and compare it with the original.

    Writes ``out``, and next to it a JSON file with inputs, outputs and what is needed around the network: for a
    micro-Doppler generator the users and the statistics of its latents. Weights over 1.9 GB go to ``<out>.data``.

    Args:
        checkpoint: Training checkpoint of any of the three tasks; or a published file, with ``network``.
        out: File that ends in .onnx (for onnxruntime and others), or in .pt2 (for torch.export.load).
        network: ``trained`` takes the network from a training checkpoint. ``lightning_dit`` (the XL/1 of 1000 classes),
            ``vggt``, ``depth_pro`` (with a layer index head) and ``vavae`` (the decoder) read published files.
        height: Height of VGGT's images (518 by default) or of VA-VAE's (256).
        width: Width of these images, likewise.
        views: Number of images of a scene, for VGGT.
        batch_size: Batch size of the file. LightningDiT takes any.
        tolerance: Largest difference allowed, relative to the largest value of an output.

    Raises:
        InputError: The checkpoint cannot be used, a size is out of range, packages are missing, or the written network
            differs from the original by more than the tolerance.
    """
    side = 256 if network == "vavae" else 518
    sizes = _Sizes(height or side, width or side, views, batch_size)
    requirements = {f"--{name}": ("at least 1", value >= 1) for name, value in vars(sizes).items()}
    check_settings({**requirements, "--tolerance": ("above 0", tolerance > 0)})
    graph, title, details = (
        _trained(checkpoint, sizes) if network == "trained" else _published(checkpoint, network, sizes)
    )
    errors = write_graph(out, graph, tolerance)
    write_json(out.with_suffix(".json"), _card(graph, title, details, checkpoint, errors, tolerance))
    for name, error in errors.items():
        print(f"{name}: largest difference {error:.1e} of its largest value (allowed {tolerance:.0e})")
    print(f"{out}: {title}, {sum(p.numel() for p in graph.module.parameters()) / 1e6:.1f} M parameters")


def _trained(checkpoint: Path, sizes: _Sizes) -> tuple[NetworkGraph, str, dict[str, Any]]:
    """Describe the network of a training checkpoint, recognised by its settings."""
    settings = read_training_checkpoint(checkpoint).get("hyper_parameters", {}).get("network")
    names = set(settings) if isinstance(settings, dict) else set[str]()
    kind = next((kind for config, kind in MODULES.items() if names == {f.name for f in fields(config)}), None)
    if kind is None:
        fault = "is not of a network that can be exported"
        remedy = "Name a checkpoint of UserConditionedDiTModule, PairDepthCameraModule or LayerIndexModule."
        raise InputError(checkpoint, fault, remedy)
    module = load_trained(kind, checkpoint)
    if isinstance(module, UserConditionedDiTModule):
        return velocity_graph(module.require_network()), "LightningDiT", _generator_details(module)
    if isinstance(module, PairDepthCameraModule):
        return _scene(module.network, sizes), "VGGT", {}
    assert isinstance(module, LayerIndexModule)
    return layer_index_graph(module.network, sizes.batch_size), "layer index network", {}


def _published(path: Path, network: Source, sizes: _Sizes) -> tuple[NetworkGraph, str, dict[str, Any]]:
    """Describe the network of a published file."""
    if network == "vavae":
        tokenizer = load_tokenizer(path)
        if isinstance(tokenizer, LappedPCA):
            remedy = "Name a VA-VAE file, or a folder of diffusers' AutoencoderKL."
            raise InputError(path, "is a LappedPCA, a linear code that draws speckle from seeds", remedy)
        return decoder_graph(tokenizer, sizes.height, sizes.width, sizes.batch_size), "decoder of a KL autoencoder", {}
    if network == "lightning_dit":
        generator = LightningDiT(LightningDiTConfig(num_classes=IMAGENET_CLASSES))
        load_published(generator, path)
        return velocity_graph(generator), "LightningDiT-XL/1", {"no_label": generator.no_label}
    if network == "vggt":
        vggt = VGGT()
        load_published(vggt, path)
        return _scene(vggt, sizes), "VGGT-1B", {}
    module = LayerIndexModule(published_checkpoint=str(path))
    load_published(module.network, path, check=module.accept_for_use)
    return layer_index_graph(module.network, sizes.batch_size), "layer index network", {}


def _scene(network: VGGT, sizes: _Sizes) -> NetworkGraph:
    sides = {"--height": sizes.height, "--width": sizes.width}
    check_settings({name: (f"a multiple of {PATCH}", side % PATCH == 0) for name, side in sides.items()})
    return scene_graph(network, sizes.height, sizes.width, sizes.views, sizes.batch_size)


def _generator_details(module: UserConditionedDiTModule) -> dict[str, Any]:
    """Return what sampling needs besides the network."""
    space, h = module.require_latent_space(), module.hparams
    details: dict[str, Any] = {
        "user_ids": space.user_ids.tolist(),
        "no_label": module.require_network().no_label if module.network_config.class_dropout_prob else None,
        "latent_mean": space.statistics.mean.flatten().tolist(),
        "latent_std": space.statistics.std.flatten().tolist(),
        "latent_multiplier": space.multiplier,
        "num_steps": h["num_steps"],
        "time_shift": h["time_shift"],
        "guidance_scale": h["guidance_scale"],
        "guidance_interval_start": h["guidance_interval_start"],
        "guided_channels": h["guided_channels"],
    }
    if module.mixture is not None:
        details["mixture_until"] = h["mixture_until"]
        print(f"Below time {h['mixture_until']} a mixture of Gaussians leads sampling; it is not part of the file.")
    return details


def _card(
    graph: NetworkGraph,
    title: str,
    details: dict[str, Any],
    checkpoint: Path,
    errors: dict[str, float],
    tolerance: float,
) -> dict[str, Any]:
    inputs = graph.draw(graph.batch_size, torch.Generator())
    shapes = {name: [*value.shape] for name, value in inputs.items()}
    return {
        "network": title,
        "checkpoint": checkpoint.name,
        "inputs": {
            name: {"shape": ["batch", *shape[1:]] if graph.any_batch else shape, "type": str(inputs[name].dtype)[6:]}
            for name, shape in shapes.items()
        },
        "outputs": list(graph.outputs),
        **details,
        "errors": errors,
        "tolerance": tolerance,
        "torch": torch.__version__,
    }
