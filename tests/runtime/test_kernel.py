"""Calling kernels: each refusal, each kind of array, and what happens around the call."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from tilewright.ir.dtype import bfloat16, boolean, float32, float64, int4, int8, int32, int64, uint64
from tilewright.ir.errors import ArgumentError
from tilewright.runtime.array import empty
from tilewright.runtime.kernel import Kernel
from tilewright.runtime.signature import ArrayParam, ScalarParam, Signature

from .native import add, increment, native


def arrays(shape: tuple[int, ...] = (2, 3)) -> list[np.ndarray]:
    a = np.arange(6, dtype=np.float32).reshape(shape)
    return [a, a * 10, np.full(shape, -1, np.float32)]


def misaligned() -> np.ndarray:
    return np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3)


def read_only() -> np.ndarray:
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    return array


REFUSALS: dict[str, tuple[int, Any, str]] = {
    "list": (0, [[1.0] * 3] * 2, "argument 0, A, must be an array, got a list, which is none"),
    "number": (1, 3.0, "argument 1, B, must be an array, got a float, which is none"),
    "dtype": (0, np.zeros((2, 3)), r"argument 0, A, must be float32, got float64[^!]*astype\(\"float32\"\)"),
    "rank": (1, np.zeros(6, np.float32), r"argument 1, B, must have 2 dimensions \(2, 3\), got shape \(6,\)"),
    "shape": (1, np.zeros((2, 4), np.float32), r"got \(2, 4\): axis 1 must be 3"),
    "transposed": (0, np.zeros((3, 2), np.float32).T, r"A, is not contiguous: strides \(4, 8\)[^!]*ascontiguousarray"),
    "sliced output": (2, np.zeros((2, 6), np.float32)[:, ::2], "argument 2, C, is not contiguous"),
    "misaligned": (0, misaligned(), "starts at an address that is no multiple of 4 bytes"),
    "read-only output": (2, read_only(), "C, is written by the kernel, but the array is read-only"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_argument_is_named_and_nothing_is_written(case: str) -> None:
    position, value, message = REFUSALS[case]
    given: list[Any] = arrays()
    c = given[2]
    given[position] = value
    kernel = add()
    with pytest.raises(ArgumentError, match=message) as caught:
        kernel(*given)
    assert caught.value.step == "add"
    assert __file__ in caught.value.site
    assert (c == -1).all()
    with pytest.raises(ArgumentError):
        kernel.bind(*given)


def test_the_number_of_arguments_is_checked() -> None:
    with pytest.raises(ArgumentError, match=r"takes 3 arguments, got 2[^!]*A: float32 \(2, 3\), B"):
        add()(*arrays()[:2])


@pytest.mark.parametrize("shift", [-5, -1, 0, 1, 5])
def test_an_output_that_overlaps_an_input_is_refused(shift: int) -> None:
    memory = np.arange(20, dtype=np.float32)
    before = memory.copy()
    a, c = memory[6:12].reshape(2, 3), memory[6 + shift : 12 + shift].reshape(2, 3)
    message = f"argument 2, C, is written but shares {24 - 4 * abs(shift)} bytes with argument 0, A"
    with pytest.raises(ArgumentError, match=message):
        add()(a, arrays()[1], c)
    assert (memory == before).all()


def test_neighbours_in_memory_do_not_overlap() -> None:
    memory = np.arange(18, dtype=np.float32)
    a, b, c = (memory[i : i + 6].reshape(2, 3) for i in (0, 12, 6))
    expected = a + b
    add()(a, b, c)
    assert (c == expected).all()


def test_inputs_may_be_the_same_array() -> None:
    a, _, c = arrays()
    add()(a, a, c)
    assert (c == 2 * a).all()


def test_read_only_inputs_are_fine() -> None:
    a, b, c = arrays()
    a.flags.writeable = False
    add()(a, b, c)
    assert (c == a + b).all()


def test_strides_that_the_kernel_asks_for_are_checked() -> None:
    kernel = add(strides=(3, 1))
    a, b, c = arrays()
    kernel(a, b, c)
    assert (c == a + b).all()
    with pytest.raises(ArgumentError, match=r"B, must have strides \(12, 4\) bytes, got \(32, 4\)"):
        kernel(a, np.zeros((2, 8), np.float32)[:, :3], c)


def test_sizes_come_from_the_arrays_and_must_agree() -> None:
    kernel = add(("n", 3))
    a, b, c = arrays()
    kernel(a, b, c)
    assert (c == a + b).all()
    with pytest.raises(ArgumentError, match=r"B, must have shape \(n, 3\), got \(4, 3\): axis 0 must be n = 2"):
        kernel(a, np.zeros((4, 3), np.float32), c)


def test_extents_computed_from_sizes_are_checked() -> None:
    kernel = add(("n", ("+", ("*", "n", 2), -1)))
    a, b, c = arrays()
    kernel(a, b, c)
    assert (c == a + b).all()
    with pytest.raises(ArgumentError, match=r"A, must have shape \(n, \(\(n \* 2\) \+ -1\)\), got \(2, 2\): axis 1"):
        kernel(*(np.zeros((2, 2), np.float32) for _ in range(3)))


SCALARS = """
define i32 @scalars__packed(ptr %argv) {
  %words = load <4 x i64>, ptr %argv, align 8
  %out_at = getelementptr i64, ptr %argv, i64 4
  %out = load ptr, ptr %out_at
  store <4 x i64> %words, ptr %out, align 8
  ret i32 0
}
"""


def scalars() -> Kernel:
    code = native(SCALARS, "scalars__packed")
    dtypes = {"i": int8, "u": uint64, "f": float64, "b": boolean}
    params = (*(ScalarParam(n, d) for n, d in dtypes.items()), ArrayParam("out", int64, (4,), None, True))
    return Kernel(Signature("scalars", params, ()), code.addresses["scalars__packed"], code)


def test_numbers_arrive_in_their_slots() -> None:
    out = np.zeros(4, np.int64)
    scalars()(-3, 2**64 - 1, 0.5, np.True_, out)
    assert (out[0], out.view(np.uint64)[1], out.view(np.float64)[2], out[3]) == (-3, 2**64 - 1, 0.5, 1)


@pytest.mark.parametrize(
    "numbers, message",
    [
        ((128, 0, 0.0, True), "argument 0, i, must be a int8, got 128"),
        ((0, -1, 0.0, True), "argument 1, u, must be a uint64, got -1"),
        ((0.5, 0, 0.0, True), "argument 0, i, must be a int8, got 0.5"),
        ((0, 0, "x", True), "argument 2, f, must be a float64, got 'x'"),
    ],
)
def test_a_number_that_does_not_fit_is_refused(numbers: tuple, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        scalars()(*numbers, np.zeros(4, np.int64))


def test_a_size_given_as_a_number_must_agree_with_the_arrays() -> None:
    code = native("define i32 @k(ptr %argv) {\n  ret i32 0\n}\n", "k")
    params = (ScalarParam("n", int32), ArrayParam("A", float32, ("n",), None, True))
    kernel = Kernel(Signature("k", params, ()), code.addresses["k"], code)
    kernel(6, np.zeros(6, np.float32))
    with pytest.raises(ArgumentError, match=r"A, must have shape \(n,\), got \(6,\): axis 0 must be n = 5"):
        kernel(5, np.zeros(6, np.float32))


def test_a_size_below_what_was_declared_is_refused() -> None:
    code = native("define i32 @k(ptr %argv) {\n  ret i32 0\n}\n", "k")
    params = (ArrayParam("A", float32, ("n",), None, True),)
    kernel = Kernel(Signature("k", params, (ScalarParam("n", int32, 2),)), code.addresses["k"], code)
    kernel(np.zeros(2, np.float32))
    with pytest.raises(ArgumentError, match="the arrays have n = 1, and it must be at least 2"):
        kernel(np.zeros(1, np.float32))


class Exporter:
    """An object that is no NumPy array but speaks DLPack, as torch's tensors do."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class OnDevice(Exporter):
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the tensor is on cuda:0")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


def test_dlpack_objects_are_used_in_place() -> None:
    a, b, c = arrays()
    add()(Exporter(a), b, Exporter(c))
    assert (c == a + b).all()


def test_a_dlpack_object_elsewhere_is_refused() -> None:
    a, b, c = arrays()
    with pytest.raises(ArgumentError, match="argument 1, B, must be an array, got a OnDevice that NumPy cannot look"):
        add()(a, OnDevice(b), c)


@pytest.mark.parametrize("dtype, held", [(bfloat16, np.uint16), (int4, np.int8), (boolean, np.bool_)])
def test_storage_types_are_held_in_numpy_types(dtype: Any, held: type) -> None:
    code = native("define i32 @k(ptr %argv) {\n  ret i32 0\n}\n", "k")
    signature = Signature("k", (ArrayParam("A", dtype, (4,), None, True),), ())
    kernel = Kernel(signature, code.addresses["k"], code)
    kernel(np.zeros(4, held))
    with pytest.raises(ArgumentError, match=f"A, must be {dtype}.*, got float32"):
        kernel(np.zeros(4, np.float32))


def test_a_bound_call_keeps_its_arrays_and_repeats() -> None:
    kernel, array = increment(), np.zeros(10, np.int32)
    bound = kernel.bind(array, threads=2)
    for _ in range(5):
        bound()
    assert (array == 5).all()


def test_a_status_other_than_zero_raises() -> None:
    code = native("define i32 @full(ptr %argv) {\n  ret i32 1\n}\n", "full")
    kernel = Kernel(Signature("full", (), ()), code.addresses["full"], code)
    with pytest.raises(MemoryError, match="full: status 1"):
        kernel()
    with pytest.raises(MemoryError, match="full: status 1"):
        kernel.bind()()


def test_the_threads_of_a_call_are_checked() -> None:
    with pytest.raises(ArgumentError, match="increment: threads='2' is a str"):
        increment().bind(np.zeros(3, np.int32), threads="2")
    with pytest.raises(ArgumentError, match="increment: threads=0 is out of range"):
        increment()(np.zeros(3, np.int32), threads=0)


def test_other_threads_run_while_a_kernel_does() -> None:
    code = native(
        "declare i32 @usleep(i32)\ndefine i32 @nap(ptr %argv) {\n  %r = call i32 @usleep(i32 300000)\n  ret i32 0\n}\n",
        "nap",
    )
    kernel = Kernel(Signature("nap", (), ()), code.addresses["nap"], code)
    thread = threading.Thread(target=kernel)
    began = time.monotonic()
    thread.start()
    steps = 0
    while thread.is_alive():
        steps += 1
        time.sleep(0.01)
    assert steps >= 5  # none could run if the sleeper held the GIL for its 0.3 s
    assert time.monotonic() - began >= 0.3


def test_empty_gives_aligned_memory() -> None:
    array = empty((3, 5), "float32", align=4096)
    assert array.ctypes.data % 4096 == 0
    assert array.shape == (3, 5)
    assert array.dtype == np.float32
