"""From an image and its layer index to layers."""
