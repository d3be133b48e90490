"""Data tools behind `python cli.py prepare`."""
