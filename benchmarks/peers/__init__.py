"""Kernels of this package side by side with those of other libraries: `python -m peers --help`, in `benchmarks`."""
