"""CUDA kernels: compiled to cubins, emulated on the CPU, and driven on a GPU."""
