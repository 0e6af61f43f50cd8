"""Loading object code into this process: the one LLJIT and what has been loaded into it."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from llvmlite import binding as llvm

from ..ir.errors import CodegenError

_names = itertools.count()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Object code in memory; it stays there while this object lives.

    addresses  of the functions that were asked for, by name
    """

    addresses: Mapping[str, int]
    tracker: llvm.ResourceTracker

    def keep(self) -> None:
        """Leave the code in memory until the process ends, even while the interpreter shuts down."""
        self.tracker.detach()


@cache
def _jit() -> llvm.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    jit = llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))  # never disposed of: the pool's threads run in it to the very end
    return jit


def load(code: bytes, exports: Sequence[str], symbols: Mapping[str, int]) -> Loaded:
    """Load the relocatable object `code`.

    exports  names whose addresses are wanted
    symbols  addresses of functions that the code calls; other names are looked up in the process
    Raises CodegenError where a name is found nowhere.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    for name, address in symbols.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    with _lock:
        try:
            tracker = builder.link(_jit(), f"tilewright.{next(_names)}")
        except RuntimeError as error:
            raise CodegenError(
                "load", str(error).strip(), advice="give the function's address by runtime.externs.register_extern"
            ) from None
    return Loaded({name: tracker[name] for name in exports}, tracker)
