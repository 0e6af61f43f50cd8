"""Let LLVM print, on standard error, the processors and features of an architecture; runs as a program of its own.

Its C interface gives no such list, and what it prints cannot be caught in a process that has threads.  The status is 1
for one that it has no code for.  Imports nothing of this package.
"""

from __future__ import annotations

import sys

from llvmlite import binding as llvm


def main(architecture: str) -> int:
    """Print the list; give the exit status."""
    llvm.initialize_all_targets()
    try:
        found = llvm.Target.from_triple(architecture)
    except RuntimeError:
        return 1
    found.create_target_machine(cpu="help")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
