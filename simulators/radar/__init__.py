"""Micro-Doppler radar of walking people."""
