"""Writing compiled kernels to files that other programs use: objects, shared libraries, C headers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..codegen.llvm.compile import compile_ir
from ..ir.dtype import DType, Kind
from ..ir.errors import ArgumentError, TargetError
from ..ir.target import Target
from .host import host_target
from .library import library_code
from .signature import ArrayParam, ScalarParam, Signature, shape_text, to_json

METADATA = "tilewright_metadata"
RUNTIME_OBJECT = "tilewright_runtime.o"
_FLAGS = ("-z", "nodelete", "-z", "noexecstack", "-Bsymbolic")  # the pool's threads never leave; a kernel may be `main`
_LINK_TIMEOUT_S = 60


def packed(name: str) -> str:
    """Give the name of the entry that takes its arguments from memory."""
    return f"{name}__packed"


def write_objects(path: Path, code: bytes, target: Target) -> tuple[Path, Path]:
    """Write a kernel object and the runtime's beside it; give both paths."""
    require_folder("export_object", path)
    runtime = path.with_name(RUNTIME_OBJECT)
    path.write_bytes(code)
    runtime.write_bytes(library_code(target, pic=True).code)
    return path, runtime


def write_library(path: Path, code: bytes, signatures: Sequence[Signature], target: Target) -> Path:
    """Link kernels, runtime and description to a shared library; write its header beside it and give that path."""
    require_folder("export_library", path)
    linker = _linker(target.triple.split("-")[0])
    with tempfile.TemporaryDirectory() as folder:
        kernels, runtime = write_objects(Path(folder) / "kernels.o", code, target)
        about = Path(folder) / "about.o"
        about.write_bytes(compile_ir(_metadata_text(signatures, target), target, pic=True).code)
        _link(linker, path, [kernels, runtime, about])
    header = path.with_suffix(".h")
    header.write_text(header_text(signatures), encoding="utf-8")
    return header


def require_folder(step: str, path: Path) -> None:
    """Raise ArgumentError where a file is to be written into a folder that is not there."""
    if not path.parent.is_dir():
        raise ArgumentError(step, f"folder {path.parent} does not exist", advice="make it first")


def _metadata_text(signatures: Sequence[Signature], target: Target) -> str:
    data = to_json(tuple(signatures)).encode() + b"\0"
    escaped = "".join(f"\\{byte:02X}" for byte in data)
    return f'target triple = "{target.triple}"\n@{METADATA} = constant [{len(data)} x i8] c"{escaped}"\n'


def _link(linker: str, path: Path, objects: Sequence[Path]) -> None:
    names = [str(p) for p in objects]
    compiler = not Path(linker).name.startswith("ld")
    flags = [f"-Wl,{','.join(_FLAGS)}"] if compiler else list(_FLAGS)
    libraries = ["-lm", "-lpthread"] if compiler else []
    words = [linker, "-shared", "-o", str(path), *names, *flags, *libraries]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_LINK_TIMEOUT_S, check=False)
    if done.returncode:
        raise TargetError("export_library", f"{linker} failed: {done.stderr.strip()}", advice="export_object")


_LINKERS = ("cc", "gcc", "clang", "ld", "ld.lld")  # of this machine


def _linker(arch: str) -> str:
    """Give the program that links for an architecture: this machine's own, or a cross compiler."""
    native = arch == host_target().triple.split("-")[0]
    known = _LINKERS if native else (f"{arch}-linux-gnu-gcc", "ld.lld")
    for name in known:
        found = shutil.which(name)
        if found:
            return found
    fact = f"no linker {'' if native else f'for {arch} '}found ({', '.join(known)})"
    raise TargetError("export_library", fact, advice="install binutils, or use export_object")


def header_text(signatures: Sequence[Signature]) -> str:
    """Give the C header of a library."""
    return "\n".join([_HEAD, *map(_prototype, signatures), _TAIL])


_HEAD = """#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define restrict __restrict
#endif

/* Kernels return 0 on success and 1 when there was no memory for scratch.
   Arrays do not overlap and are aligned to their elements; strides are in elements.
   float16 and bfloat16 values are given by their bits in uint16_t, int4 values one in each int8_t.
   `name__packed` takes the arguments of `name` from an array of 8-byte slots: addresses, integers as int64_t,
   floating-point numbers as double. */

/* Threads for parallel loops, the caller's own included; at first TILEWRIGHT_NUM_THREADS of the environment, or the
   number of processors that the process may run on. */
void tilewright_set_num_threads(int32_t threads);
int32_t tilewright_get_num_threads(void);
"""

_TAIL = """
#ifdef __cplusplus
#undef restrict
}
#endif
"""

_TAKEN = frozenset(  # a C program has a `main` of its own; the others are words of C
    "main auto bool break case char const continue default do double else enum extern float for goto if inline int "
    "long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile "
    "while".split()
)
_C_INTEGERS = {Kind.INT: "int{}_t", Kind.UINT: "uint{}_t"}


def _prototype(signature: Signature) -> str:
    params = (*signature.params, *signature.sizes)
    lines = [f"/* {_described(p)} */" for p in params]
    entry = f"int32_t {packed(signature.name)}(void *argv);"
    by_value = all(_c_type(p.dtype, by_value=True) for p in params if isinstance(p, ScalarParam))
    if signature.name in _TAKEN or not by_value:  # C has no float16 argument
        return "\n".join([*lines, entry, ""])
    listed = ", ".join(map(_declared, params)) or "void"
    return "\n".join([*lines, f"int32_t {signature.name}({listed});", entry, ""])


def _described(param: ArrayParam | ScalarParam) -> str:
    match param:
        case ArrayParam(name, dtype, shape, strides, written):
            layout = "row-major" if strides is None else f"strides {shape_text(strides)}"
            return f"{name}: {dtype} {shape_text(shape)}, {layout}, {'written' if written else 'read'}"
        case ScalarParam(name, dtype, minimum):
            return f"{name}: {dtype}" + (f", at least {minimum}" if minimum else "")


def _declared(param: ArrayParam | ScalarParam) -> str:
    name = param.name.replace(".", "_")
    match param:
        case ArrayParam(_, dtype, _, _, written):
            return f"{'' if written else 'const '}{_c_type(dtype)} *restrict {name}"
        case ScalarParam(_, dtype):
            return f"{_c_type(dtype)} {name}"


def _c_type(dtype: DType, by_value: bool = False) -> str:
    """Give the C type, or an empty string for one that cannot be passed by value."""
    match dtype.kind, dtype.bits:
        case Kind.BOOL, _:
            return "bool"
        case Kind.FLOAT, 32:
            return "float"
        case Kind.FLOAT, 64:
            return "double"
        case ((Kind.FLOAT | Kind.BFLOAT), _):
            return "" if by_value else "uint16_t"
        case kind, bits:
            return _C_INTEGERS[kind].format(max(8, bits))
