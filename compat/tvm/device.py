"""Devices: where arrays are, which is main memory."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.errors import TargetError

_NAMES = ("cpu", "llvm", "c", "stackvm")


@dataclass(frozen=True, slots=True)
class Device:
    """A processor by number."""

    device_type: int = 1
    device_id: int = 0

    @property
    def exist(self) -> bool:
        """Tell whether there is such a device."""
        return self.device_id == 0

    def sync(self) -> None:
        """Do nothing: calls of kernels return when the work is done."""

    def __str__(self) -> str:
        return f"cpu({self.device_id})"


def cpu(dev_id: int = 0) -> Device:
    """Give the processor of this machine."""
    return Device(1, dev_id)


def device(dev_type: object = "cpu", dev_id: int = 0) -> Device:
    """Give the device called `dev_type`, or the one that a target like "llvm -mcpu=..." is for."""
    name = str(dev_type).split()[0]
    if name not in _NAMES:
        raise TargetError("device", f"no device of type {name!r}", advice='"cpu" or "llvm"')
    return cpu(dev_id)
