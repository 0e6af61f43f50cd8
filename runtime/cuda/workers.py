"""Worker processes that each hold a device: a kernel that hangs or breaks its context takes one worker along, no more.

this process      holds no context, ever
zygote            forked from it before there could be one, see `runtime/worker.py`
worker            makes its context at its first request; killed when a request overstays, replaced when it is lost
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...ir.errors import DeviceError, DeviceLost
from ..worker import Workers
from .device import Device
from .devices import device, has_context

Job = Callable[[Device, Any], Any]

LOST_STATUS = 70  # with which a worker ends whose context is broken


def device_workers(job: Job, device_name: str = "gpu", count: int = 1) -> Workers:
    """Give workers that apply `job` to a device of their own and a request.

    A reply to a request that broke the context has the outcome CRASH and the error in its text; to one that overstayed,
    TIMEOUT.  In both cases the next request finds a new process.  There is no limit on address space: drivers reserve
    more of it than there is memory.
    Raises DeviceError in a process that has a context already: it could not be used after a fork.
    """
    if has_context() or _torch_has_context():
        fact = "this process uses a GPU already, so that workers forked from it could not"
        raise DeviceError("workers", fact, advice="make the workers first, or in another process")
    return Workers(_Served(job, device_name), count)


@dataclass(frozen=True, slots=True)
class _Served:
    """What runs in a worker."""

    job: Job
    device_name: str

    def __call__(self, request: Any) -> Any:
        try:
            return self.job(device(self.device_name), request)
        except DeviceLost as lost:
            os.write(2, str(lost).encode())  # the last words, which the reply brings
            os._exit(LOST_STATUS)


def _torch_has_context() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()
