"""Thread loops: virtual threads, the indices of threads, reductions that threads share."""
