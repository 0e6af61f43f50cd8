"""Worker processes that outlive what they run: crashes, endless loops, runaway memory.

A zygote is forked from this process when the executor is made, before it starts any thread.  It forks workers, each in
some milliseconds and with everything already imported, and is their parent: it reaps them and says how they died.

    this process ----control---- zygote ----forks---- worker 1, worker 2, ...
          \\____________________requests and replies____/

A worker that dies or overstays is replaced.  If this process dies, even by SIGKILL, the zygote reads the end of its
control stream, ends its workers and goes; workers are killed by the kernel if the zygote dies first.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .wire import ClosedStream, Stream
from .zygote import Death, Limits, Outcome, Spawned, run_zygote

__all__ = ["Limits", "Outcome", "Reply", "Ticket", "Workers"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request.

    value  what the target gave, where the outcome is OK
    text   the error, or what the worker last wrote to stderr before it died
    wall_s seconds from handing the request to a worker
    """

    outcome: Outcome
    value: Any = None
    text: str = ""
    wall_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Tell whether the target gave a value."""
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class Ticket:
    """One submitted request; tickets are numbered in the order of submission."""

    number: int


@dataclass(slots=True)
class _Worker:
    """A live worker process and the request it is busy with."""

    pid: int
    stream: Stream
    stderr: int
    ticket: Ticket | None = None
    began: float = 0.0
    deadline: float = 0.0


class Workers:
    """Worker processes that apply one function to requests.

        with Workers(compile_one, count=2, limits=Limits(address_space_bytes=8 << 30)) as workers:
            ticket = workers.submit(request, timeout_s=5.0)
            for ticket, reply in workers.poll(wait_s=1.0): ...

    The function and what it refers to are inherited by fork; requests and replies are pickled.
    """

    def __init__(self, target: Callable[[Any], Any], count: int = 1, limits: Limits | None = None) -> None:
        """Fork the zygote and `count` workers; make it before this process starts threads."""
        self._queue: deque[tuple[Ticket, Any, float]] = deque()
        self._finished: list[tuple[Ticket, Reply]] = []
        self._next = 0
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._control, self._zygote = _fork_zygote(target, limits or Limits())
        self._idle = [self._spawn() for _ in range(count)]
        self._busy: list[_Worker] = []
        _open.add(self)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Give the process ids of the live workers."""
        return tuple(w.pid for w in (*self._idle, *self._busy))

    @property
    def pending(self) -> int:
        """Give how many requests have no reply yet, or one that no poll has given yet."""
        return len(self._queue) + len(self._busy) + len(self._finished)

    def submit(self, request: Any, timeout_s: float = 60.0) -> Ticket:
        """Queue a request and give its ticket; its time runs from when a worker gets it."""
        ticket = Ticket(self._next)
        self._next += 1
        self._queue.append((ticket, request, timeout_s))
        self._dispatch()
        return ticket

    def poll(self, wait_s: float = 0.0) -> list[tuple[Ticket, Reply]]:
        """Give the replies that have come, after waiting up to `wait_s` seconds for the first."""
        until = time.monotonic() + wait_s
        while self._busy:
            now = time.monotonic()
            nearest = min(w.deadline for w in self._busy)
            limit = 0.0 if self._finished else max(0.0, min(until, nearest) - now)
            ready = {key.data for key, _ in self._selector.select(limit)}
            self._collect(ready, time.monotonic())
            if self._finished or time.monotonic() >= until:
                break
        replies, self._finished = self._finished, []
        return replies

    def call(self, request: Any, timeout_s: float = 60.0) -> Reply:
        """Run one request and wait for its reply; replies to other requests are kept for `poll`."""
        mine = self.submit(request, timeout_s)
        others: list[tuple[Ticket, Reply]] = []
        while True:
            for ticket, reply in self.poll(timeout_s):
                if ticket == mine:
                    self._finished = others + self._finished
                    return reply
                others.append((ticket, reply))

    def forget_queued(self) -> None:
        """Drop the requests that no worker has got yet; they get no reply."""
        self._queue.clear()

    def close(self) -> None:
        """End all workers and the zygote, and wait until they are gone."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        for worker in (*self._idle, *self._busy):
            worker.stream.close()
            os.close(worker.stderr)
        self._idle, self._busy = [], []
        self._control.close()  # the zygote kills and reaps its workers
        _parent_ends.discard(self._control)
        self._selector.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._zygote, 0)

    def _spawn(self) -> _Worker:
        self._control.send("spawn")
        spawned: Spawned = self._control.receive()
        stream_fd, stderr = self._control.receive_fds(2)
        return _Worker(spawned.pid, Stream(socket.socket(fileno=stream_fd)), stderr)

    def _dispatch(self) -> None:
        while self._queue and self._idle:
            ticket, request, timeout_s = self._queue.popleft()
            worker = self._idle.pop()
            worker.ticket, worker.began = ticket, time.monotonic()
            worker.deadline = worker.began + timeout_s
            self._busy.append(worker)
            self._selector.register(worker.stream, selectors.EVENT_READ, worker.pid)
            try:
                worker.stream.send(request)
            except ClosedStream:  # it died while idle
                self._bury(worker, worker.began, killed=False)
                self._queue.appendleft((ticket, request, timeout_s))

    def _collect(self, ready: set[int], now: float) -> None:
        for worker in list(self._busy):
            if worker.pid in ready:
                reply = self._read(worker, now)
            elif now >= worker.deadline:
                reply = self._bury(worker, now, killed=True)
            else:
                continue
            assert worker.ticket is not None
            self._finished.append((worker.ticket, reply))
        self._dispatch()

    def _read(self, worker: _Worker, now: float) -> Reply:
        """Take a worker's reply, or its death."""
        try:
            outcome, value, text = worker.stream.receive()
        except ClosedStream:
            return self._bury(worker, now, killed=False)
        self._selector.unregister(worker.stream)
        self._busy.remove(worker)
        self._idle.append(worker)
        return Reply(Outcome(outcome), value, text, now - worker.began)

    def _bury(self, worker: _Worker, now: float, killed: bool) -> Reply:
        """Reap a dead or overdue worker, start another, and give the reply that its death is."""
        self._selector.unregister(worker.stream)
        self._busy.remove(worker)
        self._control.send(("reap", worker.pid))
        death: Death = self._control.receive()
        text = _last_words(worker.stderr)
        worker.stream.close()
        os.close(worker.stderr)
        self._idle.append(self._spawn())
        spent = now - worker.began
        if killed:
            return Reply(Outcome.TIMEOUT, None, f"killed after {spent:.2f} s", spent)
        return Reply(death.outcome, None, f"{death.text}; {text}" if text else death.text, spent)


_open: weakref.WeakSet[Workers] = weakref.WeakSet()
_parent_ends: weakref.WeakSet[Stream] = (
    weakref.WeakSet()
)  # closed in each new zygote, so that the older ones see this process end


@atexit.register
def _close_all() -> None:
    for workers in list(_open):
        workers.close()


def _fork_zygote(target: Callable[[Any], Any], limits: Limits) -> tuple[Stream, int]:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        for end in _parent_ends:
            end.close()
        run_zygote(Stream(theirs), target, limits)
    theirs.close()
    stream = Stream(ours)
    _parent_ends.add(stream)
    return stream, pid


def _last_words(stderr: int, limit_bytes: int = 2000) -> str:
    size = os.fstat(stderr).st_size
    return os.pread(stderr, limit_bytes, max(0, size - limit_bytes)).decode(errors="replace").strip()
