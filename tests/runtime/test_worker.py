"""Worker processes under fault injection: every way to fail has its class, and the next request works."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tilewright.runtime.worker import Limits, Outcome, Workers


def obey(order: tuple[str, Any]) -> Any:
    """Do what a test asks for."""
    kind, value = order
    match kind:
        case "echo":
            return value
        case "pid":
            return os.getpid()
        case "sleep":
            time.sleep(value)
            return value
        case "span":  # when it began and ended, on the clock that all processes share
            began = time.monotonic()
            time.sleep(value)
            return began, time.monotonic()
        case "raise":
            raise ValueError(value)
        case "segfault":
            return ctypes.string_at(8)
        case "signal":
            os.kill(os.getpid(), value)
            time.sleep(10)
        case "abort":
            os.write(2, b"LLVM ERROR: cannot select\n")
            os.abort()
        case "loop":
            while True:
                pass
        case "allocate":
            return len(bytearray(value))
        case "exit":
            os._exit(value)
        case "unpicklable":
            return lambda: None
    raise AssertionError(kind)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(obey, count=1, limits=Limits(address_space_bytes=16 << 30)) as made:
        yield made


FAULTS: dict[str, tuple[tuple[str, Any], Outcome, str]] = {
    "exception": (("raise", "bad tile"), Outcome.ERROR, "ValueError: bad tile"),
    "segfault": (("segfault", None), Outcome.CRASH, "SIGSEGV"),
    "trap": (("signal", signal.SIGILL), Outcome.TRAP, "SIGILL"),
    "abort": (("abort", None), Outcome.ABORT, "SIGABRT; LLVM ERROR: cannot select"),
    "endless loop": (("loop", None), Outcome.TIMEOUT, "killed after"),
    "memory": (("allocate", 64 << 30), Outcome.MEMORY, ""),
    "killed by the system": (("signal", signal.SIGKILL), Outcome.MEMORY, "SIGKILL"),
    "exit": (("exit", 3), Outcome.CRASH, "exited with status 3"),
    "unpicklable result": (("unpicklable", None), Outcome.ERROR, "cannot be sent"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_classified_and_the_next_request_works(workers: Workers, fault: str) -> None:
    order, outcome, text = FAULTS[fault]
    reply = workers.call(order, timeout_s=0.5)
    assert reply.outcome is outcome, reply
    assert text in reply.text
    assert workers.call(("echo", 42), timeout_s=5.0).value == 42


def test_values_of_any_size_come_back(workers: Workers) -> None:
    data = os.urandom(3 << 20)
    assert workers.call(("echo", data)).value == data


def test_a_worker_serves_many_requests(workers: Workers) -> None:
    assert len({workers.call(("pid", None)).value for _ in range(5)}) == 1


def test_a_worker_that_died_while_idle_is_replaced(workers: Workers) -> None:
    first = workers.call(("pid", None)).value
    os.kill(first, signal.SIGKILL)
    time.sleep(0.05)
    reply = workers.call(("pid", None))
    assert reply.ok
    assert reply.value != first


def test_cpu_time_is_limited() -> None:
    with Workers(obey, limits=Limits(cpu_s=1)) as workers:
        reply = workers.call(("loop", None), timeout_s=20.0)
        assert reply.outcome is Outcome.TIMEOUT
        assert "SIGXCPU" in reply.text


def test_workers_run_at_the_same_time_and_every_ticket_is_answered() -> None:
    with Workers(obey, count=2) as workers:
        tickets = [workers.submit(("span", 0.2)) for _ in range(4)]
        answered = {}
        while workers.pending:
            answered.update(workers.poll(wait_s=5.0))
        assert set(answered) == set(tickets)
        spans = sorted(answered[ticket].value for ticket in tickets)
        assert spans[1][0] < spans[0][1]  # the second began before the first ended
        assert spans[2][0] >= min(spans[0][1], spans[1][1])  # two at most


def test_poll_without_waiting_returns_at_once() -> None:
    with Workers(obey) as workers:
        ticket = workers.submit(("sleep", 0.3))
        assert workers.poll() == []  # it would have had the answer if it had waited
        assert [answered for answered, _ in workers.poll(wait_s=20.0)] == [ticket]


def test_a_fault_of_one_worker_leaves_the_other_alone() -> None:
    with Workers(obey, count=2) as workers:
        slow = workers.submit(("sleep", 0.3))
        workers.submit(("segfault", None))
        answered = {}
        while workers.pending:
            answered.update(workers.poll(wait_s=5.0))
        assert answered[slow].value == 0.3


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_closing_leaves_no_process_behind() -> None:
    workers = Workers(obey, count=2)
    pids = workers.pids
    workers.submit(("loop", None))
    zygote = workers._zygote
    workers.close()
    assert not any(map(os.path.exists, (f"/proc/{pid}" for pid in (*pids, zygote))))
    workers.close()  # a second time does nothing


def test_forgotten_workers_end() -> None:
    workers = Workers(obey)
    pids = workers.pids
    del workers
    gc.collect()
    until = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, pids))


PARENT = """
import time
from tilewright.runtime.worker import Workers
def loop(_):
    while True: pass
workers = Workers(loop, count=2)
second = Workers(loop, count=1)
workers.submit(None), workers.submit(None)
print(*workers.pids, *second.pids, workers._zygote, second._zygote, flush=True)
time.sleep(60)
"""


def test_killing_the_parent_ends_its_workers() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = list(map(int, parent.stdout.readline().split()))
        assert len(pids) == 5
        assert all(map(alive, pids))
        parent.kill()
    until = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, pids))
