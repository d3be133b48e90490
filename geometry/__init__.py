"""Cameras, rotations, projection: pure functions."""
