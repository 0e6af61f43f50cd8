"""Running generated code in a test: the host as a target, kernels over arrays, serial stand-ins of the runtime."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from tilewright.codegen.llvm.compile import ObjectCode, compile_ir
from tilewright.codegen.llvm.emit import emit
from tilewright.ir.buffer import Buffer
from tilewright.ir.stmt import Function
from tilewright.ir.target import Target

RUNTIME = """
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)
@alive = global i64 0
@refuse = global i64 0

define ptr @tilewright_alloc(i64 %bytes, i64 %align) {
  %no = load i64, ptr @refuse
  %full = icmp eq i64 %no, 1
  br i1 %full, label %none, label %some
none:
  ret ptr null
some:
  %up = add i64 %bytes, 63
  %cut = and i64 %up, -64
  %p = call ptr @aligned_alloc(i64 64, i64 %cut)
  %n = load i64, ptr @alive
  %m = add i64 %n, 1
  store i64 %m, ptr @alive
  ret ptr %p
}

define void @tilewright_free(ptr %p) {
  call void @free(ptr %p)
  %n = load i64, ptr @alive
  %m = add i64 %n, -1
  store i64 %m, ptr @alive
  ret void
}

define i32 @tilewright_parallel_for(ptr %body, ptr %env, i64 %count) {
  %half = sdiv i64 %count, 2
  %first = call i32 %body(ptr %env, i64 0, i64 %half)
  %ok = icmp eq i32 %first, 0
  br i1 %ok, label %rest, label %done
rest:
  %second = call i32 %body(ptr %env, i64 %half, i64 %count)
  br label %done
done:
  %status = phi i32 [ %first, %0 ], [ %second, %rest ]
  ret i32 %status
}
"""
_names = itertools.count()


@cache
def host() -> Target:
    """Give the target of the machine the tests run on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    bits = 512 if "+avx512f" in features else 256 if "+avx2" in features else 128
    return Target(
        "llvm", llvm.get_default_triple(), llvm.get_host_cpu_name(), features, bits, 32 if bits == 512 else 16
    )


@cache
def _jit() -> llvm.LLJIT:
    machine = llvm.Target.from_triple(host().triple).create_target_machine(jit=True)
    return llvm.create_lljit_compiler(machine)


class Loaded:
    """A compiled function at an address, with the counters of the stand-in runtime."""

    def __init__(self, function: Function, effort: str = "quick", code: ObjectCode | None = None) -> None:
        self.function = function
        code = code or compile_ir(emit([function], host()), host(), effort=effort)
        self.text = code.text
        self.assembly = code.assembly
        library = llvm.JITLibraryBuilder().add_object_img(code.code).add_ir(RUNTIME).add_current_process()
        symbols = (f"{function.name}__packed", "alive", "refuse")
        for symbol in symbols:
            library.export_symbol(symbol)
        self._tracker = library.link(_jit(), f"test{next(_names)}")
        entry, alive, refuse = (self._tracker[s] for s in symbols)
        self._entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(entry)
        self.alive = ctypes.c_int64.from_address(alive)
        self.refuse = ctypes.c_int64.from_address(refuse)

    def slots(self, arguments: Sequence[np.ndarray | int | float]) -> ctypes.Array:
        """Give the argument array of the packed entry; size variables follow from the shapes."""
        words: list[int] = []
        sizes: dict[str, int] = {}
        for parameter, argument in zip(self.function.params, arguments, strict=True):
            match argument:
                case np.ndarray():
                    words.append(argument.ctypes.data)
                    assert isinstance(parameter, Buffer)
                    sizes.update({str(d): n for d, n in zip(parameter.shape, argument.shape, strict=True)})
                case float():
                    words.append(int(np.float64(argument).view(np.int64)))
                case _:
                    words.append(int(argument))
        words += [sizes[v.name] for v in self.function.size_vars]
        return (ctypes.c_int64 * max(1, len(words)))(*words)

    def __call__(self, *arguments: np.ndarray | int | float) -> int:
        """Run the kernel and give its status."""
        slots = self.slots(arguments)  # alive during the call
        return self._entry(ctypes.addressof(slots))
