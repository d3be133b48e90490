"""Loading of tokenizers of any kind from a path."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from formats.errors import InputError
from networks.checkpoint_files import read_state_dict
from networks.checkpoints import load_published
from networks.tokenizers.base import Tokenizer
from networks.tokenizers.kl_autoencoder import DiffusersKL
from networks.tokenizers.patch_pca import PatchPCA, is_patch_pca
from networks.tokenizers.vavae import VAVAE, vavae_for

log = logging.getLogger(__name__)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer at ``path``, in evaluation mode and without gradients, on the CPU.

    Args:
        path: A published VA-VAE (``.pt``, ``.pth``, ``.ckpt``, ``.safetensors``), a file that
            :meth:`PatchPCA.save` wrote, or a folder of diffusers' ``AutoencoderKL`` with its ``config.json``.

    Raises:
        InputError: The path does not exist, or is none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file or folder", "Name a tokenizer's file or folder.")
    tokenizer: Tokenizer
    if path.is_dir():
        tokenizer = DiffusersKL(path)
    elif is_patch_pca(path):
        tokenizer = PatchPCA.load(path)
    else:
        tokenizer = _vavae(path)
    return tokenizer.eval().requires_grad_(False)


def _vavae(path: Path) -> VAVAE:
    state = read_state_dict(path)
    with torch.device("meta"):  # the file's tensors replace initial weights
        tokenizer = vavae_for(state, str(path))
    report = load_published(tokenizer, state, path)
    log.info("%s: %s", path, report)
    return tokenizer
