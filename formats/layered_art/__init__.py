"""Layered art on disk."""
