"""Limits of the machine, and figures of a kernel that tell how fast it can be."""
