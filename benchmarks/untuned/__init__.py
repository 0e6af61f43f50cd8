"""What kernels are worth that nobody tuned: the shipped records and model are made here, and measured."""
