"""Loading of tokenizers of any kind from a path."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from formats.errors import InputError
from formats.hub_files import is_hub_name, local_file, local_folder
from networks.checkpoint_files import SUFFIXES, read_state_dict
from networks.checkpoints import load_published
from networks.tokenizers.base import Tokenizer
from networks.tokenizers.kl_autoencoder import FILES, DiffusersKL
from networks.tokenizers.lapped_pca import LappedPCA, is_lapped_pca
from networks.tokenizers.vavae import VAVAE, vavae_for

log = logging.getLogger(__name__)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer at ``path``, in evaluation mode and without gradients, on the CPU.

    Args:
        path: A published VA-VAE (``.pt``, ``.pth``, ``.ckpt``, ``.safetensors``), a file that
            :meth:`LappedPCA.save` wrote, or a folder of diffusers' ``AutoencoderKL`` with its ``config.json``. Each may
            be named on the hub, ``hf://owner/repository/file`` or, for a folder, ``hf://owner/repository``.

    Raises:
        InputError: The path does not exist, or is none of these.
    """
    path = tokenizer_location(path)
    if not path.exists():
        raise InputError(path, "no such file or folder", "Name a tokenizer's file or folder.")
    tokenizer: Tokenizer
    if path.is_dir():
        tokenizer = DiffusersKL(path)
    elif is_lapped_pca(path):
        tokenizer = LappedPCA.load(path)
    else:
        tokenizer = _vavae(path)
    return tokenizer.eval().requires_grad_(False)


def tokenizer_location(path: str | Path) -> Path:
    """Return the local file or folder of a tokenizer; what is named on the hub is downloaded unless it is cached."""
    if is_hub_name(path) and not str(path).partition("#")[0].endswith(SUFFIXES):
        return local_folder(path, FILES)
    return local_file(path)


def _vavae(path: Path) -> VAVAE:
    state = read_state_dict(path)
    with torch.device("meta"):  # the file's tensors replace initial weights
        tokenizer = vavae_for(state, str(path))
    report = load_published(tokenizer, state, path)
    log.info("%s: %s", path, report)
    return tokenizer
