"""From loop nests with bound threads to CUDA C++ text."""
