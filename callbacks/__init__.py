"""Callbacks: images during training, prediction writers, reports."""
