"""`tvm.contrib`: temporary folders; for the rest, what to use instead."""

from ....ir.errors import Error
from . import utils

__all__ = ["utils"]

_LINKED = "func.export_library(path) links; func.save('x.o') writes an object and the runtime's for a linker of yours"
_CALLED = "register the function by tvm.register_func and call it by tvm.tir.call_packed"
_ABSENT = {
    "cc": _LINKED,
    "clang": _LINKED,
    "ndk": _LINKED,
    "tedd": "print(s) shows the loops that a schedule means",
    **dict.fromkeys(("cblas", "mkl", "dnnl", "cublas", "cudnn", "random", "sort", "nnpack"), _CALLED),
}


def __getattr__(name: str) -> object:
    """Raise Error for what is deliberately absent, AttributeError for any other name that the module has not."""
    if name in _ABSENT:
        raise Error(f"tvm.contrib.{name}", "not part of this package", advice=_ABSENT[name])
    raise AttributeError(f"module 'tilewright.compat.tvm.contrib' has no attribute {name!r}")
