"""Code to calls on memory: modules, kernels, threads, timing, worker processes."""
