"""The devices of this process: made when first asked for, closed when it ends."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from ...ir.errors import ArgumentError, DeviceError

if TYPE_CHECKING:
    from .device import Device

_NAME = re.compile(r"emulate|gpu(?::(\d+))?")
_open: dict[str | int, Device] = {}  # by ordinal, or "emulate"
_lock = threading.Lock()


def device(name: str = "gpu") -> Device:
    """Give a device of this process, always the same object for one name.

    name  "gpu" for the first GPU, "gpu:1" for the second, "emulate" for emulation on the CPU
    Raises DeviceError where there is no such GPU; the message says what is missing and what works here without one.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ArgumentError("device", f"there is no device {name!r}", advice='"gpu", "gpu:1" or "emulate"')
    key = "emulate" if name == "emulate" else int(match[1] or 0)
    with _lock:
        if key not in _open:
            _open[key] = _emulation() if key == "emulate" else _gpu(int(key))
        return _open[key]


def find_device(asked: str | Device | None) -> Device | None:
    """Give the device that is meant: one by its name, one that is there already, or None for one to be chosen later."""
    return device(asked) if type(asked) is str else asked  # type: ignore[return-value]


def has_context() -> bool:
    """Tell whether this process holds a GPU: then it cannot fork processes that use one."""
    return any(made.is_gpu for made in _open.values())


def _gpu(ordinal: int) -> Device:
    from .pycuda_device import PycudaDevice

    try:
        return PycudaDevice(ordinal)
    except ImportError as error:
        words = str(error)
    except DeviceError as error:
        words = error.fact
    from .availability import availability

    here = availability()
    fact = here.paragraph() if not here.runs else f"GPU {ordinal} cannot be used: {words}"
    raise DeviceError("device", fact, advice='device="emulate", or a machine with a GPU')


def _emulation() -> Device:
    from .emulated_device import EmulatedDevice

    return EmulatedDevice()
