"""Benchmarks, each beside a reference that is measured in the same run: `make bench`, `python -m benchmarks --list`."""
