"""What a machine with a GPU is asked to confirm, one phase after the other: `python -m gpu_check --help`."""
