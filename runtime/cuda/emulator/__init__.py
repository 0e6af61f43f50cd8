"""CUDA kernels run on the CPU: their text compiled as C++, one fiber for each thread, every access checked."""
