"""Bundles: candidates for a GPU that are built on one machine and measured on another.  docs/gpu.md has the format."""
