"""Tokenizers: images to latents and back, behind one interface."""

from networks.tokenizers.base import Posterior, Tokenizer, to_uint8, to_unit
from networks.tokenizers.kl_autoencoder import DiffusersKL
from networks.tokenizers.lapped_pca import LappedPCA
from networks.tokenizers.loading import load_tokenizer, tokenizer_location
from networks.tokenizers.vavae import VAVAE

__all__ = [
    "VAVAE",
    "DiffusersKL",
    "LappedPCA",
    "Posterior",
    "Tokenizer",
    "load_tokenizer",
    "to_uint8",
    "to_unit",
    "tokenizer_location",
]
