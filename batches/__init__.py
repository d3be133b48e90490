"""Batch types: the contract between data modules and Lightning modules."""
