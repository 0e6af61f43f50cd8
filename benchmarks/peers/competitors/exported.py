"""Kernels of this package as exported libraries, called as any C program would: nothing of the package is loaded."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import partial

import numpy as np

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operation

SYMBOL = "kernel"  # the name under which kernels are exported


class ExportedKernels:
    """The libraries of a folder, one for each workload, with its name."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Remember the folder."""
        self.surroundings = surroundings
        self.version = "exported libraries"

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give the kernel, if there is a library."""
        path = self.surroundings.folder / f"{workload}.so"
        if not path.exists():
            return
        library = ctypes.CDLL(str(path))
        library.tilewright_set_num_threads(self.surroundings.threads)
        out = empty(operation.result)
        held = [*prepared(library, arrays), out]
        slots = (ctypes.c_void_p * len(held))(*(array.ctypes.data for array in held))
        entry = library[f"{SYMBOL}__packed"]
        if status := entry(slots):
            raise MemoryError(f"status {status}: no memory for scratch")

        def result(_held: list[np.ndarray] = held) -> np.ndarray:
            return out.copy()

        yield Form("", partial(entry, slots), result)


def prepared(library: ctypes.CDLL, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Give the operands as the kernel takes them: kernels take constant operands as they are."""
    return arrays
