"""Sample data from physics and geometry, as arrays."""
