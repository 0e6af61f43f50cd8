"""The module tree of TVM 0.9 over this package's own names: `from tilewright.compat import tvm`.

Programs written with `tvm.te` and `tvm.autotvm` run with their imports changed; see docs/migrating_from_tvm.md.
"""

from ...ir.errors import Error as TVMError
from . import autotvm, contrib, driver, nd, runtime, target, te, testing, tir, topi, transform
from .absent import __getattr__
from .driver import build, lower
from .packed import get_global_func, register_func
from .runtime import Device, cpu, device

__version__ = "0.9.0"

__all__ = [
    "Device",
    "TVMError",
    "__getattr__",
    "autotvm",
    "build",
    "contrib",
    "cpu",
    "device",
    "driver",
    "get_global_func",
    "lower",
    "nd",
    "register_func",
    "runtime",
    "target",
    "te",
    "testing",
    "tir",
    "topi",
    "transform",
]
