"""Simulated flat illustrations with exact layers."""
