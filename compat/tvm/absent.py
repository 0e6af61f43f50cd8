"""What TVM has and this package has not, with what to use instead."""

from __future__ import annotations

from ...ir.errors import Error

_PROCESSOR = "arrays are in main memory: tvm.cpu(0); kernels for a GPU: tilewright.build(s, args, target='cuda')"
_ABSENT = {
    "relay": "tensor expressions are scheduled here, not graphs: declare the operators with te or topi",
    "relax": "tensor expressions are scheduled here, not graphs: declare the operators with te or topi",
    "auto_scheduler": "write a template for autotvm; tilewright.autotune.templates has some for common operators",
    "meta_schedule": "write a template for autotvm; tilewright.autotune.templates has some for common operators",
    "rpc": "kernels are measured in worker processes on this machine: autotvm.LocalRunner()",
    "micro": "export the kernel as C-callable library: func.export_library(path)",
    "cuda": _PROCESSOR,
    "gpu": _PROCESSOR,
    "opencl": _PROCESSOR,
    "vulkan": _PROCESSOR,
    "metal": _PROCESSOR,
    "rocm": _PROCESSOR,
    "script": "loop nests are printed and parsed by tilewright.ir.printer and tilewright.ir.parser",
}


def __getattr__(name: str) -> object:
    """Raise Error for what is deliberately absent, AttributeError for any other name that the module has not.

    An AttributeError would not do for the former: `from tvm import relay` would drop its message.
    """
    if name in _ABSENT:
        raise Error(f"tvm.{name}", "not part of this package", advice=_ABSENT[name])
    raise AttributeError(f"module 'tilewright.compat.tvm' has no attribute {name!r}; see docs/migrating_from_tvm.md")
