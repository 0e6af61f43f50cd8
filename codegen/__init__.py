"""Loop nests to code: passes, the interpreter, LLVM IR."""
