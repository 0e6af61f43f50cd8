"""Kernels of this package as exported libraries, called as any C program would: nothing of the package is loaded."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operand, Operation

SYMBOL = "kernel"  # the name under which kernels are exported


@dataclass(frozen=True, slots=True)
class Entry:
    """A function of a library, and its parameters in order."""

    name: str
    params: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a caller must know of a library: its C header, in JSON.

    tensors  the names of the operation's operands and result, as parameters have them
    entries  the function that prepares constants, if there is one, and the kernel, which reads what that one wrote
    """

    tensors: tuple[str, ...]
    entries: tuple[Entry, ...]

    def write(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what `write` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        entries = (Entry(e["name"], tuple(_operand(**p) for p in e["params"])) for e in data["entries"])
        return cls(tuple(data["tensors"]), tuple(entries))


def _operand(name: str, shape: list[int], dtype: str, constant: bool) -> Operand:
    return Operand(name, tuple(shape), dtype, constant)


class ExportedKernels:
    """The libraries of a folder, each named by its workload's key: a file that is loaded must not be written again."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Remember the folder."""
        self.surroundings = surroundings
        self.version = "exported libraries"

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give the kernel, if there is a library, with its constants prepared."""
        path = self.surroundings.folder / f"{workload}.so"
        if not path.exists():
            return
        library = ctypes.CDLL(str(path))
        library.tilewright_set_num_threads(self.surroundings.threads)
        manifest = Manifest.read(path.with_suffix(".json"))
        out = empty(operation.result)
        known = dict(zip(manifest.tensors, [*arrays, out], strict=True))
        call = partial(int)
        for entry in manifest.entries:  # the kernel is the last
            call = _call(library, entry, known)
            if status := call():
                raise MemoryError(f"{entry.name}: status {status}, no memory for scratch")

        def result(_held: dict[str, np.ndarray] = known) -> np.ndarray:
            return out.copy()

        yield Form("", call, result)


def _call(library: ctypes.CDLL, entry: Entry, known: dict[str, np.ndarray]) -> partial[int]:
    """Give a call with its slots filled; arrays that nobody knows yet are made, and known from then on."""
    for param in entry.params:
        if param.name not in known:
            known[param.name] = empty(param)
    slots = (ctypes.c_void_p * len(entry.params))(*(known[p.name].ctypes.data for p in entry.params))
    return partial(library[f"{entry.name}__packed"], slots)
