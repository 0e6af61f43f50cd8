"""The devices of this process: made when first asked for, closed when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...ir.errors import ArgumentError, DeviceError
from .device import Device

_open: dict[str, Device] = {}
_lock = threading.Lock()


def device(name: str = "gpu") -> Device:
    """Give a device of this process, always the same object for one name.

    name  "gpu" for the first GPU, "gpu:1" for the second, "emulate" for emulation on the CPU
    Raises DeviceError where there is no such GPU; the message says what is missing and what works here without one.
    """
    kind, _, rest = name.partition(":")
    if kind not in _MAKERS or (rest and (kind != "gpu" or not rest.isdigit())):
        raise ArgumentError("device", f"there is no device {name!r}", advice='"gpu", "gpu:1" or "emulate"')
    key = f"gpu:{int(rest or 0)}" if kind == "gpu" else kind
    with _lock:
        if key not in _open:
            _open[key] = _MAKERS[kind](int(rest or 0))
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
    except (ImportError, DeviceError) as error:
        from .availability import availability

        here = availability()
        fact = here.paragraph() if not here.runs else f"GPU {ordinal} cannot be used: {error}"
        raise DeviceError("device", fact, advice='device="emulate", or a machine with a GPU') from None


def _emulation(_: int) -> Device:
    from .emulated_device import EmulatedDevice

    return EmulatedDevice()


_MAKERS: dict[str, Callable[[int], Device]] = {"gpu": _gpu, "emulate": _emulation}
