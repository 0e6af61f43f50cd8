"""Tilewright: tensor expressions, schedules and learned search give tuned kernels.

A = te.placeholder((n,), name="A")                  what to compute: `tilewright.te`
s = tilewright.create_schedule(B.op)                how to compute it: `s[B].split(...)`, `print(s)`
kernel = tilewright.build(s, [A, B])                code that runs: `kernel(a, b)`
tilewright.autotune                                 search for the fastest schedule
"""

from . import te
from .ir.errors import Error
from .ir.stmt import Function
from .ir.target import Target
from .runtime.build import build
from .runtime.cuda.devices import device as cuda_device
from .runtime.module import Module, load_module
from .schedule import Schedule, Stage, create_schedule, default_schedule, lower, lower_prepared, register_intrinsic

__version__ = "0.1.0"

__all__ = [
    "Error",
    "Function",
    "Module",
    "Schedule",
    "Stage",
    "Target",
    "build",
    "create_schedule",
    "cuda_device",
    "default_schedule",
    "load_module",
    "lower",
    "lower_prepared",
    "register_intrinsic",
    "te",
]
