"""Kernels as text in the device language."""
