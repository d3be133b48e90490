"""AerialMegaDepth: pairs of aerial and ground photographs with depth and cameras."""

from datamodules.aerial_megadepth.datamodule import AerialMegaDepthDataModule

__all__ = ["AerialMegaDepthDataModule"]
