"""What to compute: tensors declared by an expression for each element."""
