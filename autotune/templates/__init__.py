"""Templates that come with the package: one file per family of operators."""
