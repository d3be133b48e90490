"""Labels of ADE20k's 150 classes that Trilight reads or writes, numbered from 0.

Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
"""

from __future__ import annotations

WALL = 0
BUILDING = 1
SKY = 2
TREE = 4
ROAD = 6
GRASS = 9
SIDEWALK = 11
CAR = 20
