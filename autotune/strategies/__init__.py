"""Ways to search a space, one per file: random, grid, genetic, and led by a cost model."""
