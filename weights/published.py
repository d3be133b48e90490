"""Weights that others have published and that the tasks start from, by name on the Hugging Face hub.

Sizes are those that the publications state. Licences are not listed, since only the files' pages state them; they are
shown before the first download.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A published file.

    Attributes:
        name: Name on the hub.
        task: Title of its task.
        about: What it is.
        size: Number of its parameters, and bytes where they are known.
        command: Command that uses it, up to the name.
    """

    name: str
    task: str
    about: str
    size: str
    command: str


VA_VAE = "hf://hustvl/vavae-imagenet256-f16d32-dinov2"
FIT_DIT = "fit --config configs/dit_microdoppler.yaml --model.published_checkpoint"
EXTRACT = "predict --config configs/microdoppler_extract_latents.yaml"
PUBLISHED_FILES = (
    PublishedFile(
        f"{VA_VAE}/vavae-imagenet256-f16d32-dinov2.pt",
        "micro-Doppler",
        "VA-VAE f16d32, tokenizer of 256 px images",
        "69.8 M parameters; about 2.3 GB",
        f"{EXTRACT} --model.tokenizer_path",
    ),
    PublishedFile(
        f"{VA_VAE}/latents_stats.pt",
        "micro-Doppler",
        "ImageNet's latent statistics of this VA-VAE, to compare with",
        "mean and standard deviation of 32 channels",
        f"{EXTRACT} --model.tokenizer_path {VA_VAE}/vavae-imagenet256-f16d32-dinov2.pt --data.imagenet_statistics",
    ),
    PublishedFile(
        "hf://hustvl/lightningdit-xl-imagenet256-800ep/lightningdit-xl-imagenet256-800ep.pt",
        "micro-Doppler",
        "LightningDiT-XL/1 of ImageNet, 800 epochs",
        "675.3 M parameters",
        FIT_DIT,
    ),
    PublishedFile(
        "hf://hustvl/lightningdit-xl-imagenet256-64ep/lightningdit-xl-imagenet256-64ep.pt",
        "micro-Doppler",
        "LightningDiT-XL/1 of ImageNet, 64 epochs",
        "675.3 M parameters",
        FIT_DIT,
    ),
    PublishedFile(
        "hf://facebook/VGGT-1B/model.safetensors",
        "pair depth",
        "VGGT-1B",
        "1,256.5 M parameters",
        "fit --config configs/pair_aerialmd.yaml --model.published_checkpoint",
    ),
    PublishedFile(
        "hf://apple/DepthPro/depth_pro.pt",
        "layer index",
        "Depth Pro, for fine-tuning to the layer index",
        "952 M parameters",
        "fit --config configs/layer_index.yaml --model.published_checkpoint",
    ),
)
