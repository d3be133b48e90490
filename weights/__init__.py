"""Trained weights, each ``<name>.safetensors`` with its card ``<name>.yaml``; see ``networks.shipped_weights``."""

from pathlib import Path

FOLDER = Path(__file__).parent
