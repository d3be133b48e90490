"""KL autoencoders on diffusers' ``AutoencoderKL``: Stable Diffusion, SDXL, FLUX and similar ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from formats.errors import InputError
from formats.local_files import read_json_object, require_file
from networks.tokenizers.base import Posterior, Tokenizer

WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES = ("config.json", WEIGHTS)  # of a folder


class KLTokenizer(Tokenizer):
    """Tokenizer around a ``diffusers.AutoencoderKL``.

    Args:
        autoencoder: A ``diffusers.AutoencoderKL`` for RGB images.
    """

    autoencoder: Any  # diffusers' classes are untyped

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.latent_channels = autoencoder.config.latent_channels
        self.downsampling = 2 ** (len(autoencoder.config.block_out_channels) - 1)

    def encode(self, images: Tensor) -> Posterior:  # noqa: D102
        self.latent_shape(*images.shape[-2:])  # other sizes would be cropped, so they are refused
        latents = self.autoencoder.encode(images).latent_dist
        return Posterior(latents.mean, latents.logvar)  # clamped to −30…20 by diffusers

    def decode(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: D102
        images: Tensor = self.autoencoder.decode(latents).sample
        return images


class DiffusersKL(KLTokenizer):
    """KL autoencoder in diffusers' folder layout, of any size.

    Latents are raw: the ``scaling_factor`` and ``shift_factor`` of its config, which replace latent
    statistics in the pipelines of diffusers, are not applied.

    Args:
        folder: Folder with ``config.json`` and ``diffusion_pytorch_model.safetensors``.

    Raises:
        InputError: The folder has no ``config.json``, the class in it is not ``AutoencoderKL``, the weights are
            missing or do not fit, or it is not for RGB images.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(_autoencoder(Path(folder)))


def _autoencoder(folder: Path) -> Any:
    remedy = "Name a folder that diffusers' AutoencoderKL.save_pretrained wrote, or the 'vae' folder of a pipeline."
    if not (folder / "config.json").is_file():
        raise InputError(folder, "has no config.json", remedy)
    config = read_json_object(folder / "config.json", remedy)
    kind = config.get("_class_name")
    if kind != "AutoencoderKL":
        raise InputError(folder / "config.json", f"its _class_name is {kind!r}, not 'AutoencoderKL'", remedy)
    if (config.get("in_channels", 3), config.get("out_channels", 3)) != (3, 3):
        raise InputError(folder / "config.json", "the autoencoder is not for RGB images", remedy)

    # Diffusers would otherwise follow the names in an index of shards, or look for pickled weights.
    require_file(folder / WEIGHTS, remedy)

    from diffusers import AutoencoderKL  # here, since its import takes seconds

    try:
        # Only safetensors: the pickled weights of older folders could run code.
        autoencoder, report = AutoencoderKL.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # settings of other types and damaged weights raise nearly anything
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")  # hints for developers follow
        raise InputError(folder, f"the weights cannot be loaded ({reason})", remedy) from error
    # diffusers fills missing tensors with random numbers and only warns.
    faults = [f"{len(names)} {what} such as {sorted(names)[0]}" for what, names in report.items() if names]
    if faults:
        raise InputError(folder, f"the weights do not fit config.json ({', '.join(faults)})", remedy)
    return autoencoder
