"""A small network that puts the colour regions of an illustration in order."""

from networks.region_order.config import RegionOrderConfig
from networks.region_order.model import RegionOrderNet

__all__ = ["RegionOrderConfig", "RegionOrderNet"]
