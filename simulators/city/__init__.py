"""Simulated city seen from the air and from the ground."""
