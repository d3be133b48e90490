"""What the command line needs."""
