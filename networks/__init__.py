"""Networks in plain torch, usable without Lightning."""
