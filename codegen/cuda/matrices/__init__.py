"""Matrices in the registers of warps and warpgroups, and the instructions that multiply them."""
