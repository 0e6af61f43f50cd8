"""What ships with the package for kernels that nobody tuned: records of common workloads, and a model."""
