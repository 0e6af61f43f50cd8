"""How wide memory is accessed, and how much shared memory a block has."""

from __future__ import annotations

from functools import partial

import pytest

from tilewright import te
from tilewright.ir.errors import Error
from tilewright.ir.target import Target
from tilewright.schedule import create_schedule

from .emulated import Scheduled, assert_same, assert_way, emulated

# -- wide accesses --------------------------------------------------------------------------------------------------


def vectors(n: int, dtype: str, lanes: int, shift: int = 0) -> Scheduled:
    """B = 2 A in vectors, or of A shifted so that its vectors are not aligned."""
    a = te.placeholder((n + shift,), dtype, "A")
    b = te.compute((n,), lambda i: a[i + shift] * 2, name="B")
    s = create_schedule(b.op)
    block, rest = s[b].split(b.op.axis[0], factor=8 * lanes)
    thread, lane = s[b].split(rest, factor=lanes)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    s[b].vectorize(lane)
    return s, [a, b]


VECTORS = [("float32", 2), ("float32", 4), ("float32", 8), ("float16", 4), ("float16", 8), ("int8", 8), ("int8", 16),
           ("float64", 2), ("int32", 4), ("uint8", 4), ("bfloat16", 8), ("float32", 3)]  # fmt: skip
LENGTHS = (1, 7, 16, 31, 33, 48, 64, 100, 128)
VECTOR_WAYS = {
    f"{d}x{n}{'-unaligned' * k}": partial(vectors, dtype=d, lanes=n, shift=k) for d, n in VECTORS for k in (0, 1)
}


@pytest.mark.parametrize("way", VECTOR_WAYS)
@pytest.mark.parametrize("n", LENGTHS)
def test_vectors(way, n):
    assert_way(VECTOR_WAYS[way], LENGTHS, n)


@pytest.mark.parametrize(("dtype", "lanes"), VECTORS[:-1])
def test_aligned_vectors_are_moved_at_once(dtype, lanes):
    (kernels,) = emulated(vectors(1024, dtype, lanes))
    width = min(lanes, 16 // kernels.outputs[0].dtype.bytes)
    element = {"float16": "tw_f16", "bfloat16": "tw_bf16", "int8": "signed char", "uint8": "unsigned char",
               "float32": "float", "float64": "double", "int32": "int"}[dtype]  # fmt: skip
    assert f"tw_load_const((const tw_vec<{element}, {width}>*)(A" in kernels.source.text
    assert f"tw_store((tw_vec<{element}, {width}>*)(B" in kernels.source.text


def test_vectors_that_cannot_be_aligned_are_loaded_one_by_one():
    (kernels,) = emulated(vectors(1024, "float32", 4, shift=1))
    assert "tw_vec<float, 4>*)(A" not in kernels.source.text
    assert "tw_store((tw_vec<float, 4>*)(B" in kernels.source.text


# -- much shared memory ---------------------------------------------------------------------------------------------


def large_copy(kib: int) -> Scheduled:
    n = kib * 256
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[n - 1 - i], name="B")
    s = create_schedule(b.op)
    copy = s[s.cache_read(a, "shared", [b])]
    block, rest = s[b].split(b.op.axis[0], nparts=1)
    outer, thread = s[b].split(rest, factor=256)
    s[b].reorder(block, thread, outer)
    s[b].bind(block, "blockIdx.x")
    s[b].bind(thread, "threadIdx.x")
    copy.compute_at(s[b], block)
    whole, lane = copy.split(copy.op.axis[0], factor=4)
    copy.vectorize(lane)
    copy.bind(copy.split(whole, factor=256)[1], "threadIdx.x")
    return s, [a, b]


@pytest.mark.parametrize("kib", [47, 48, 49, 100, 163])
def test_a_block_has_as_much_shared_memory_as_it_asks_for(kib):
    (kernels,) = emulated(large_copy(kib))
    assert kernels.source.launches[0].shared_bytes == kib << 10
    assert_same(kernels)


def test_more_shared_memory_than_there_is_is_refused():
    with pytest.raises(Error, match="a block needs 164 KiB of shared memory, sm_80 has 163 KiB"):
        emulated(large_copy(164))
    emulated(large_copy(164), target=Target.parse("cuda -arch=sm_90"))
