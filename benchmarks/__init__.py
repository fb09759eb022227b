"""Benchmarks, each beside a reference that is measured in the same run: `make bench`, `python -m benchmarks --list`."""

# First of all, as in every process of the site: it says how threads wait, before NumPy and PyTorch read that.
import cbmir_site  # noqa: F401
