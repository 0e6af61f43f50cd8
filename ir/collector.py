"""Python's collector of cycles, at rest while something is compiled."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_rest() -> Iterator[None]:
    """Collect no cycles meanwhile.

    A compilation makes some hundred thousand objects and hardly a cycle; a collection in the midst of it would look
    through all that the process has imported, which takes as long as a stage of the compilation.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
