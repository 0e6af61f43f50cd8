"""Contexts in worker processes: a kernel that hangs is killed, one that breaks its context takes only its worker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter
from tilewright.ir.errors import DeviceError
from tilewright.runtime.cuda import devices
from tilewright.runtime.cuda.code import CudaCode
from tilewright.runtime.cuda.device import Device
from tilewright.runtime.cuda.pycuda_device import PycudaDevice
from tilewright.runtime.cuda.workers import device_workers
from tilewright.runtime.worker import Outcome, Workers

from .stand_in import fake_code, install, stand_in_device


def run_kernel(device: Device, name: str) -> tuple[int, int]:
    """Launch a kernel on a counter; give the process and the counter."""
    (kernel,) = device.load(fake_code(name, "buffer C"))
    counter = np.zeros(1, "int32")
    address = device.alloc(4)
    device.upload(address, counter)
    kernel((1, 1, 1), (address,))
    device.synchronize()
    device.download(address, counter)
    return os.getpid(), int(counter[0])


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    install(monkeypatch)
    monkeypatch.setattr(devices, "_open", {})
    fake_code("count", "buffer C")  # compiled before the fork, once
    with device_workers(run_kernel) as made:
        yield made


def test_a_worker_keeps_its_device_from_request_to_request(workers: Workers) -> None:
    first, second = workers.call("count"), workers.call("count")
    assert first.ok and first.value[1] == 1
    assert first.value == second.value
    assert first.value[0] != os.getpid()


def test_a_hang_is_killed_and_the_next_request_runs_in_a_new_process(workers: Workers) -> None:
    pid, _ = workers.call("count").value
    assert workers.call("endless", timeout_s=0.5).outcome is Outcome.TIMEOUT
    after = workers.call("count")
    assert after.ok and after.value[1] == 1 and after.value[0] != pid


def test_a_broken_context_ends_its_worker_with_the_error_as_last_words(workers: Workers) -> None:
    pid, _ = workers.call("count").value
    reply = workers.call("faulty")
    assert reply.outcome is Outcome.CRASH
    assert "an illegal memory access was encountered" in reply.text
    after = workers.call("count")
    assert after.ok and after.value[1] == 1 and after.value[0] != pid


def test_an_error_that_leaves_the_context_whole_keeps_the_worker(workers: Workers) -> None:
    pid, _ = workers.call("count").value
    reply = workers.call("no_such_kernel")
    assert reply.outcome is Outcome.ERROR and "DeviceError" in reply.text
    assert workers.call("count").value == (pid, 1)


def test_a_process_with_a_context_cannot_have_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in_device(monkeypatch) as device:
        assert type(device) is PycudaDevice
        monkeypatch.setattr(devices, "_open", {0: device})
        with pytest.raises(DeviceError, match="this process uses a GPU already"):
            device_workers(run_kernel)


def test_workers_that_share_nothing_go_on_when_another_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(devices, "_open", {})
    with device_workers(run_kernel, count=2) as workers:
        tickets = {workers.submit(name): name for name in ("faulty", "count", "count", "faulty", "count")}
        replies = {}
        while len(replies) < len(tickets):
            replies |= dict(workers.poll(10.0))
    outcomes = {name: {replies[t].outcome for t, n in tickets.items() if n == name} for name in ("count", "faulty")}
    assert outcomes == {"count": {Outcome.OK}, "faulty": {Outcome.CRASH}}


EMULATED = """
TW_KERNEL(32, 0) right(int* C) { if (tw_thread_x() == 0) tw_store(C, 1); }
TW_KERNEL(32, 0) racing(int* C) { tw_store(C, tw_thread_x()); }
TW_KERNEL(32, 0) endless(int* C) { for (volatile int on = 1; on;) {} }
"""


def emulate(device: Device, name: str) -> int:
    """Run one kernel of EMULATED; give its process."""
    launch = Launch(name, (Parameter("buffer", "C", "int32"),), ("1", "1", "1"), (32, 1, 1))
    (kernel,) = device.load(CudaCode(CudaSource(EMULATED, (launch,)), "sm_90a"))
    kernel((1, 1, 1), (device.alloc(4),))
    return os.getpid()


def test_an_emulated_kernel_that_hangs_is_killed_and_a_fault_keeps_the_worker() -> None:
    with device_workers(emulate, "emulate") as workers:
        pid = workers.call("right").value
        fault = workers.call("racing")
        assert fault.outcome is Outcome.ERROR and "RaceFault" in fault.text
        assert workers.call("right").value == pid
        assert workers.call("endless", timeout_s=2.0).outcome is Outcome.TIMEOUT
        assert workers.call("right").ok
