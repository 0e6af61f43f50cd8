"""Loop nests to LLVM IR text, and the text to objects."""
