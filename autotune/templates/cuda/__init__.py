"""Templates for GPUs: one file per family of operators."""
