"""Metrics: torchmetrics classes and functions on features."""
