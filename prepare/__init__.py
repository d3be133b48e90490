"""Data tools of `python cli.py prepare` and jobs of `python cli.py pipeline`."""
