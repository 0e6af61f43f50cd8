"""The process that forks workers, and what a worker does."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import gc
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

from .wire import ClosedStream, Stream

_PR_SET_PDEATHSIG = 1


class Outcome(Enum):
    """How a request ended."""

    OK = "ok"
    ERROR = "error"  # the target raised an exception
    CRASH = "crash"  # bad memory access or arithmetic
    TRAP = "trap"  # an illegal instruction, or one that LLVM puts where nothing may get
    ABORT = "abort"  # LLVM or the C library gave up
    TIMEOUT = "timeout"
    MEMORY = "memory"  # the limit was reached, or the system ended the worker for want of memory


_BY_SIGNAL = {
    signal.SIGSEGV: Outcome.CRASH,
    signal.SIGBUS: Outcome.CRASH,
    signal.SIGFPE: Outcome.CRASH,
    signal.SIGILL: Outcome.TRAP,
    signal.SIGTRAP: Outcome.TRAP,
    signal.SIGABRT: Outcome.ABORT,
    signal.SIGXCPU: Outcome.TIMEOUT,
    signal.SIGKILL: Outcome.MEMORY,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use; None for no limit.

    address_space_bytes  beyond it allocations fail
    cpu_s                processor seconds in a worker's whole life, after which it is ended and replaced
    """

    address_space_bytes: int | None = None
    cpu_s: int | None = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A new worker; its stream and its stderr follow as file descriptors."""

    pid: int


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended."""

    outcome: Outcome
    text: str


def run_zygote(control: Stream, target: Callable[[Any], Any], limits: Limits) -> NoReturn:
    """Fork and reap workers as `control` asks, until it ends."""
    children: set[int] = set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the user interrupts the tuner, which then closes its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # collections in workers leave the shared pages shared
    try:
        while True:
            match control.receive():
                case "spawn":
                    children.add(_spawn(control, target, limits))
                case ("reap", pid):
                    children.discard(pid)
                    control.send(_reap(pid))
    except ClosedStream:
        pass
    finally:
        for pid in children:
            _reap(pid)
        os._exit(0)


def _spawn(control: Stream, target: Callable[[Any], Any], limits: Limits) -> int:
    ours, theirs = socket.socketpair()
    stderr = os.memfd_create("stderr") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        control.close()
        ours.close()
        _run_worker(Stream(theirs), target, limits, stderr, zygote)
    theirs.close()
    control.send(Spawned(pid))
    control.send_fds([ours.fileno(), stderr])
    ours.close()
    os.close(stderr)
    return pid


def _reap(pid: int) -> Death:
    """End a worker, if it has not ended by itself, and say how it ended."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done == 0:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Death(Outcome.CRASH, f"exited with status {code}")
    number = signal.Signals(-code)
    return Death(_BY_SIGNAL.get(number, Outcome.CRASH), f"ended by {number.name}")


def _run_worker(stream: Stream, target: Callable[[Any], Any], limits: Limits, stderr: int, zygote: int) -> NoReturn:
    try:
        _prepare(limits, stderr, zygote)
        while True:
            request = stream.receive()
            os.ftruncate(stderr, 0)
            try:
                stream.send(_answer(target, request))
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                stream.send((Outcome.ERROR.value, None, f"the result cannot be sent: {error}"))
    except ClosedStream:
        pass
    finally:
        os._exit(0)


def _answer(target: Callable[[Any], Any], request: Any) -> tuple[str, Any, str]:
    try:
        return Outcome.OK.value, target(request), ""
    except MemoryError as error:
        return Outcome.MEMORY.value, None, str(error) or "out of memory"
    except BaseException as error:  # a worker must answer, whatever the target does
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome.ERROR.value, None, f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"


def _prepare(limits: Limits, stderr: int, zygote: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != zygote:
            os._exit(0)
    fcntl.fcntl(stderr, fcntl.F_SETFL, os.O_APPEND)  # it is emptied before each request
    os.dup2(stderr, 2)
    faulthandler.disable()  # it would write to where the parent's stderr was
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.address_space_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.address_space_bytes, limits.address_space_bytes))
    if limits.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
