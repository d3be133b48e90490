"""General simulated scenes that are quick to render: rooms, towns, terrain and random solids."""
