"""Batch types: the contract between datamodules and Lightning modules."""
