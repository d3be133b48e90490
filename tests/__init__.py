"""Tests; a package, so that benchmarks can import tests.support whatever other packages are installed."""
