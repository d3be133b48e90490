"""Data sets and the batches made of them."""
