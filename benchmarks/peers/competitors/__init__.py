"""What is measured, one file each: exported kernels, the libraries, and the limits of the machine."""
