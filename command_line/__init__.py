"""Command line: argument handling, the trainer, error messages, and the tools of ``prepare`` and ``pipeline``."""
