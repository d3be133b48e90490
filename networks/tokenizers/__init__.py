"""Tokenizers: images to latents and back, behind one interface."""

from networks.tokenizers.base import Posterior, Tokenizer, to_uint8, to_unit
from networks.tokenizers.kl_autoencoder import DiffusersKL
from networks.tokenizers.loading import load_tokenizer
from networks.tokenizers.patch_pca import PatchPCA
from networks.tokenizers.vavae import VAVAE

__all__ = [
    "VAVAE",
    "DiffusersKL",
    "PatchPCA",
    "Posterior",
    "Tokenizer",
    "load_tokenizer",
    "to_uint8",
    "to_unit",
]
