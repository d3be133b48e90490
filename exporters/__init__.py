"""Writers of results for other programs."""
