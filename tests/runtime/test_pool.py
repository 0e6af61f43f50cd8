"""The thread pool: every iteration exactly once, whoever calls, however often."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright.codegen.llvm.compile import compile_ir
from tilewright.ir.errors import ArgumentError
from tilewright.runtime import pool
from tilewright.runtime.host import host_target
from tilewright.runtime.jit import load
from tilewright.runtime.library import EXPORTS, bind_functions, library, library_text

from .native import INCREMENT, increment, native

BODY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
Ranges = list[tuple[int, int, int]]


@pytest.fixture(autouse=True)
def usual_settings() -> Iterator[None]:
    before = pool.num_threads()
    yield
    pool.set_num_threads(before)
    pool.set_chunk(None)
    pool.set_spin_us(50)
    pool.set_placement(pool.Placement.SPREAD)


def recorded(count: int, inner: Callable[[int, int], int] = lambda begin, end: 0) -> tuple[int, Ranges]:
    """Run a loop over Python code; give its status and (begin, end, thread) of each part."""
    parts: Ranges = []

    def body(env: int, begin: int, end: int) -> int:
        parts.append((begin, end, threading.get_native_id()))
        return inner(begin, end)

    thunk = BODY(body)
    status = library().functions["tilewright_parallel_for"](ctypes.cast(thunk, ctypes.c_void_p), None, count)
    return status, sorted(parts)


def covers(parts: Ranges, count: int) -> bool:
    return [p[0] for p in parts] + [count] == [0] + [p[1] for p in parts]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 64, 1001])
def test_static_parts_partition_the_loop_evenly(threads: int, count: int) -> None:
    pool.set_num_threads(threads)
    status, parts = recorded(count)
    sizes = [end - begin for begin, end, _ in parts]
    assert status == 0
    assert covers(parts, count)
    assert len(parts) == min(threads, count)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_partition_the_loop(chunk: int) -> None:
    pool.set_num_threads(3)
    pool.set_chunk(chunk)
    _, parts = recorded(100)
    assert covers(parts, 100)
    assert len(parts) == -(-100 // chunk)


@pytest.mark.parametrize("count", [0, -1])
def test_an_empty_loop_calls_nothing(count: int) -> None:
    assert recorded(count) == (0, [])


def test_parts_run_in_different_threads() -> None:
    pool.set_num_threads(3)
    meet = threading.Barrier(3, timeout=20)  # passes only if all three run at once
    _, parts = recorded(3, lambda begin, end: meet.wait() * 0)
    assert len({thread for _, _, thread in parts}) == 3


def test_one_thread_stays_in_the_caller() -> None:
    pool.set_num_threads(1)
    assert recorded(10)[1] == [(0, 10, threading.get_native_id())]


def test_a_failing_part_gives_its_status() -> None:
    pool.set_num_threads(4)
    assert recorded(4, lambda begin, end: 7 if begin == 2 else 0)[0] == 7
    assert recorded(4)[0] == 0


def test_a_nested_loop_runs_serially_and_completely() -> None:
    pool.set_num_threads(2)
    inner: list[Ranges] = []
    recorded(2, lambda begin, end: inner.append(recorded(10)[1]) or 0)
    assert [covers(parts, 10) and len(parts) for parts in inner] == [1, 1]


def test_two_threads_calling_at_once_lose_no_iteration() -> None:
    kernel = increment()
    arrays = [np.zeros(13, np.int32) for _ in range(3)]

    def work(array: np.ndarray) -> None:
        for i in range(3000):
            kernel(array, threads=1 + i % 4)

    threads = [threading.Thread(target=work, args=(a,)) for a in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((a == 3000).all() for a in arrays)


def test_changing_settings_between_calls_loses_no_iteration() -> None:
    kernel, array = increment(), np.zeros(1000, np.int32)
    for i in range(400):
        pool.set_num_threads(1 + i % 5)
        pool.set_spin_us((0, 5, 50)[i % 3])
        pool.set_chunk((None, 7)[i % 2])
        pool.set_placement(tuple(pool.Placement)[i % 3])
        kernel(array)
    assert (array == 400).all()


def test_sleeping_workers_wake() -> None:
    pool.set_spin_us(0)
    kernel, array = increment(), np.zeros(8, np.int32)
    for _ in range(50):
        kernel(array, threads=2)
        time.sleep(0.001)
    assert (array == 50).all()


def test_threads_of_a_call_hold_for_that_call_only() -> None:
    pool.set_num_threads(2)
    seen = []
    code = native(
        "declare i32 @tilewright_get_num_threads()\n"
        "define i32 @ask(ptr %argv) {\n  %n = call i32 @tilewright_get_num_threads()\n  ret i32 %n\n}\n",
        "ask",
    )
    call = library().functions["tilewright_call"]
    for threads in (1, 5, 300):
        seen.append((call(code.addresses["ask"], None, threads), pool.num_threads()))
    assert seen == [(1, 2), (5, 2), (256, 2)]


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    kernel, array = increment(), np.zeros(100, np.int32)
    kernel(array, threads=3)
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            for _ in range(100):
                kernel(array, threads=3)
            ok = bool((array == 101).all()) and len(os.listdir("/proc/self/task")) >= 3
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    kernel(array, threads=3)
    assert (array == 2).all()


def test_a_forked_child_has_a_pool_where_the_kernel_cannot_empty_it() -> None:
    target = host_target()
    text = library_text(target).replace("i32 18)  ; MADV_WIPEONFORK", "i32 9999)")  # a mark that no kernel knows
    assert "i32 9999)" in text
    loaded = load(compile_ir(text, target).code, EXPORTS, {})
    loaded.keep()
    functions = bind_functions(dict(loaded.addresses))
    functions["tilewright_set_num_threads"](3)
    code = native(INCREMENT, "increment__packed", **loaded.addresses)
    array = np.zeros(100, np.int32)
    argv = (ctypes.c_int64 * 2)(array.ctypes.data, array.size)
    assert functions["tilewright_call"](code.addresses["increment__packed"], argv, 3) == 0
    pid = os.fork()
    if pid == 0:
        for _ in range(100):
            functions["tilewright_call"](code.addresses["increment__packed"], argv, 3)
        os._exit(0 if (array == 101).all() and len(os.listdir("/proc/self/task")) >= 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (array == 1).all()


def test_the_caller_does_the_parts_of_workers_that_never_begin() -> None:
    target = host_target()
    text = library_text(target).replace("ptr @tilewright.worker, ptr %argument", "ptr @absent, ptr %argument")
    assert "ptr @absent, " in text
    text += "define internal ptr @absent(ptr %argument) {\n  ret ptr null\n}\n"
    loaded = load(compile_ir(text, target).code, EXPORTS, {})
    loaded.keep()
    functions = bind_functions(dict(loaded.addresses))
    code = native(INCREMENT, "increment__packed", **loaded.addresses)
    array = np.zeros(101, np.int32)
    argv = (ctypes.c_int64 * 2)(array.ctypes.data, array.size)
    for count in range(1, 6):
        assert functions["tilewright_call"](code.addresses["increment__packed"], argv, 4) == 0
        assert (array == count).all()


def test_a_sleeping_worker_is_woken_elsewhere_than_on_its_callers_processor() -> None:
    kernel, array = increment(), np.zeros(100, np.int32)
    allowed = os.sched_getaffinity(0)
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = _workers_are_kept_away(lambda: kernel(array, threads=2), allowed)
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _workers_are_kept_away(call: Callable[[], object], allowed: set[int]) -> bool:
    pool.set_spin_us(0)
    call()
    (worker,) = (int(t) for t in os.listdir("/proc/self/task") if int(t) != os.getpid())
    for processor in (*allowed, *allowed):
        os.sched_setaffinity(0, {processor})
        while Path(f"/proc/self/task/{worker}/stat").read_text().rsplit(")")[1].split()[0] != "S":
            time.sleep(0.001)
        call()
        if os.sched_getaffinity(worker) != (allowed - {processor} or allowed):
            return False
    return True


def test_a_child_forked_during_a_loop_can_run_loops() -> None:
    kernel, array = increment(), np.zeros(10_000, np.int32)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            kernel(array, threads=2)

    thread = threading.Thread(target=busy)
    thread.start()
    statuses = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            mine = np.zeros(50, np.int32)
            kernel(mine, threads=2)
            os._exit(0 if (mine == 1).all() else 1)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop.set()
    thread.join()
    assert statuses == [0] * 10


@pytest.mark.parametrize("wish, threads", [("3", 3), ("256", 256), ("0", None), ("", None)])
def test_the_environment_sets_the_number_of_threads(wish: str, threads: int | None) -> None:
    code = "from tilewright.runtime import host, pool; print(pool.num_threads(), host.cpu_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TILEWRIGHT_NUM_THREADS": wish}, capture_output=True, text=True
    )
    found, processors = map(int, done.stdout.split())
    assert found == (threads or processors)


def test_the_interpreter_ends_cleanly_while_workers_live() -> None:
    code = (
        "import ctypes\nfrom tilewright.runtime import pool\nfrom tilewright.runtime.library import library\n"
        "pool.set_num_threads(4)\npool.set_spin_us(100000)\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(lambda e, b, n: 0)\n"
        "print(library().functions['tilewright_parallel_for'](ctypes.cast(f, ctypes.c_void_p), None, 4))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_a_senseless_number_of_threads_is_refused(threads: int) -> None:
    with pytest.raises(ArgumentError, match=f"threads={threads} is out of range"):
        pool.set_num_threads(threads)


@pytest.mark.parametrize("threads", ["2", 2.0, None])
def test_threads_that_are_no_whole_number_are_refused(threads: Any) -> None:
    with pytest.raises(ArgumentError, match=f"threads={threads!r} is a ") as refused:
        pool.set_num_threads(threads)
    assert refused.value.advice == "a whole number from 1 to 256"


def test_a_chunk_of_nothing_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a chunk of 0 iterations"):
        pool.set_chunk(0)


def test_a_senseless_spin_is_refused() -> None:
    with pytest.raises(ArgumentError, match="-1 us is out of range"):
        pool.set_spin_us(-1)
