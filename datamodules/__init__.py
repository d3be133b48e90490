"""Datasets and the batches made from them."""
