"""Loops bound to blocks and threads, virtual threads, written-out loops: emitted kernels mean what was scheduled."""

from __future__ import annotations

import pytest

from tilewright import te
from tilewright.schedule import create_schedule

from .emulated import CUBES, MATRICES, SIZES, Scheduled, assert_way


def doubled(n: int):
    """B = 2 A + 1, of one dimension."""
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] * 2 + 1, name="B")
    return create_schedule(b.op), a, b


def transposed(shape: tuple[int, int]):
    """B = 3 A transposed."""
    m, n = shape
    a = te.placeholder((n, m), name="A")
    b = te.compute((m, n), lambda i, j: a[j, i] * 3, name="B")
    return create_schedule(b.op), a, b


def bound(stage, **axes) -> None:
    """Bind axes: x="threadIdx.x" is `x=axis`; names are threads x, y, z and blocks bx, by, bz."""
    for name, axis in axes.items():
        stage.bind(axis, f"{'blockIdx' if name[0] == 'b' else 'threadIdx'}.{name[-1]}")


# -- one dimension --------------------------------------------------------------------------------------------------


def blocks_alone(n: int) -> Scheduled:
    s, a, b = doubled(n)
    s[b].bind(b.op.axis[0], "blockIdx.x")
    return s, [a, b]


def threads_alone(n: int) -> Scheduled:
    s, a, b = doubled(n)
    s[b].bind(b.op.axis[0], "threadIdx.x")
    return s, [a, b]


def one_thread(n: int) -> Scheduled:
    s, a, b = doubled(n)
    return s, [a, b]


def blocks_of_threads(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, thread = s[b].split(b.op.axis[0], factor=32)
    s[b].bind(block, te.thread_axis("blockIdx.x"))
    s[b].bind(thread, te.thread_axis("threadIdx.x"))
    return s, [a, b]


def threads_outside_blocks(n: int) -> Scheduled:
    s, a, b = doubled(n)
    thread, block = s[b].split(b.op.axis[0], nparts=16)
    bound(s[b], x=thread, bx=block)
    return s, [a, b]


def several_for_each_thread(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, rest = s[b].split(b.op.axis[0], factor=48)
    serial, thread = s[b].split(rest, factor=16)
    bound(s[b], bx=block, x=thread)
    s[b].unroll(serial)
    return s, [a, b]


def z_alone(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, thread = s[b].split(b.op.axis[0], factor=5)
    bound(s[b], bz=block, z=thread)
    return s, [a, b]


def unrolled_by_pragma(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, rest = s[b].split(b.op.axis[0], factor=24)
    thread, serial = s[b].split(rest, factor=3)
    bound(s[b], bx=block, x=thread)
    s[b].pragma(thread, "auto_unroll_max_step", 16)
    s[b].pragma(block, "min_blocks", 2)
    return s, [a, b]


def virtual_threads(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, rest = s[b].split(b.op.axis[0], factor=24)
    virtual, thread = s[b].split(rest, nparts=3)
    bound(s[b], bx=block, x=thread)
    s[b].bind(virtual, "vthread")
    return s, [a, b]


def virtual_threads_inside(n: int) -> Scheduled:
    s, a, b = doubled(n)
    block, rest = s[b].split(b.op.axis[0], factor=24)
    thread, virtual = s[b].split(rest, factor=3)
    bound(s[b], bx=block, x=thread)
    s[b].bind(virtual, te.thread_axis("vthread"))
    return s, [a, b]


def two_stages_of_one_kernel(n: int) -> Scheduled:
    """A producer of 40 elements for each block of 32, in shared memory: its loops have other extents."""
    a = te.placeholder((n + 8,), name="A")
    p = te.compute((n + 8,), lambda i: a[i] * 2, name="P")
    b = te.compute((n,), lambda i: p[i] + p[i + 8], name="B")
    s = create_schedule(b.op)
    block, thread = s[b].split(b.op.axis[0], factor=32)
    bound(s[b], bx=block, x=thread)
    s[p].compute_at(s[b], block)
    _, inner = s[p].split(p.op.axis[0], factor=20)
    bound(s[p], x=inner)
    return s, [a, b]


def fewer_threads_of_one_stage(n: int) -> Scheduled:
    """The producer has 8 threads of the block's 32."""
    a = te.placeholder((n,), name="A")
    p = te.compute((n,), lambda i: a[i] + 1, name="P")
    b = te.compute((n,), lambda i: p[i] * p[n - 1 - i], name="B")
    s = create_schedule(b.op)
    s[p].set_scope("shared")
    block, thread = s[b].split(b.op.axis[0], factor=32)
    bound(s[b], bx=block, x=thread)
    s[p].compute_at(s[b], block)
    _, inner = s[p].split(p.op.axis[0], factor=8)
    bound(s[p], x=inner)
    return s, [a, b]


LINES = (
    blocks_alone, threads_alone, one_thread, blocks_of_threads, threads_outside_blocks, several_for_each_thread,
    z_alone, unrolled_by_pragma, virtual_threads, virtual_threads_inside, two_stages_of_one_kernel,
    fewer_threads_of_one_stage,
)  # fmt: skip


@pytest.mark.parametrize("way", LINES)
@pytest.mark.parametrize("n", SIZES)
def test_lines(way, n):
    assert_way(way, SIZES, n)


# -- two dimensions -------------------------------------------------------------------------------------------------


def tiles(shape) -> Scheduled:
    s, a, b = transposed(shape)
    io, jo, ii, ji = s[b].tile(*b.op.axis, 8, 16)
    bound(s[b], by=io, bx=jo, y=ii, x=ji)
    return s, [a, b]


def tiles_of_other_axes(shape) -> Scheduled:
    s, a, b = transposed(shape)
    io, jo, ii, ji = s[b].tile(*b.op.axis, 5, 7)
    bound(s[b], bz=io, by=jo, x=ii, z=ji)
    return s, [a, b]


def fused(shape) -> Scheduled:
    s, a, b = transposed(shape)
    block, thread = s[b].split(s[b].fuse(*b.op.axis), factor=64)
    bound(s[b], bx=block, x=thread)
    return s, [a, b]


def register_tiles(shape) -> Scheduled:
    s, a, b = transposed(shape)
    io, jo, ii, ji = s[b].tile(*b.op.axis, 12, 16)
    it, ii = s[b].split(ii, factor=3)
    jt, ji = s[b].split(ji, factor=2)
    s[b].reorder(io, jo, it, jt, ii, ji)
    bound(s[b], by=io, bx=jo, y=it, x=jt)
    s[b].unroll(ii)
    s[b].unroll(ji)
    return s, [a, b]


def nested_virtual_threads(shape) -> Scheduled:
    s, a, b = transposed(shape)
    io, jo, ii, ji = s[b].tile(*b.op.axis, 12, 16)
    iv, ii = s[b].split(ii, nparts=2)
    jv, ji = s[b].split(ji, nparts=2)
    s[b].reorder(io, jo, iv, jv, ii, ji)
    bound(s[b], by=io, bx=jo, y=ii, x=ji)
    s[b].bind(iv, "vthread")
    s[b].bind(jv, "vthread")
    return s, [a, b]


def virtual_threads_of_shared_copies(shape) -> Scheduled:
    s, a, b = transposed(shape)
    copy = s.cache_read(a, "shared", [b])
    io, jo, ii, ji = s[b].tile(*b.op.axis, 12, 16)
    iv, ii = s[b].split(ii, nparts=2)
    jv, ji = s[b].split(ji, nparts=4)
    s[b].reorder(io, jo, iv, jv, ii, ji)
    bound(s[b], by=io, bx=jo, y=ii, x=ji)
    s[b].bind(iv, "vthread.y")
    s[b].bind(jv, "vthread.x")
    s[copy].compute_at(s[b], jo)
    _, y = s[copy].split(s[copy].op.axis[0], factor=6)
    _, x = s[copy].split(s[copy].op.axis[1], factor=4)
    bound(s[copy], y=y, x=x)
    return s, [a, b]


def virtual_threads_that_fill_shared_memory_themselves(shape) -> Scheduled:
    s, a, b = transposed(shape)
    copy = s.cache_read(a, "shared", [b])
    io, jo, ii, ji = s[b].tile(*b.op.axis, 12, 16)
    iv, ii = s[b].split(ii, nparts=3)
    s[b].reorder(io, jo, iv, ii, ji)
    bound(s[b], by=io, bx=jo, y=ii, x=ji)
    s[b].bind(iv, "vthread")
    s[copy].compute_at(s[b], iv)
    _, x = s[copy].split(s[copy].fuse(*s[copy].op.axis), factor=16)
    bound(s[copy], x=x)
    return s, [a, b]


PLANES = (
    tiles, tiles_of_other_axes, fused, register_tiles, nested_virtual_threads, virtual_threads_of_shared_copies,
    virtual_threads_that_fill_shared_memory_themselves,
)  # fmt: skip


@pytest.mark.parametrize("way", PLANES)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_planes(way, shape):
    assert_way(way, MATRICES, shape)


# -- three dimensions -----------------------------------------------------------------------------------------------


def turned(shape: tuple[int, int, int]):
    height, m, n = shape
    a = te.placeholder((n, height, m), name="A")
    b = te.compute((height, m, n), lambda i, j, k: a[k, i, j] - 1, name="B")
    return create_schedule(b.op), a, b


def threads_of_three_axes(shape) -> Scheduled:
    s, a, b = turned(shape)
    (io, ii), (jo, ji), (ko, ki) = (s[b].split(axis, factor=f) for axis, f in zip(b.op.axis, (3, 2, 8), strict=True))
    s[b].reorder(io, jo, ko, ii, ji, ki)
    bound(s[b], bz=io, by=jo, bx=ko, z=ii, y=ji, x=ki)
    return s, [a, b]


def two_axes_fused_onto_one(shape) -> Scheduled:
    s, a, b = turned(shape)
    i, j, k = b.op.axis
    ko, ki = s[b].split(k, factor=8)
    s[b].reorder(i, ko, j, ki)
    bound(s[b], bx=s[b].fuse(i, ko), y=s[b].split(j, factor=4)[1], x=ki)
    return s, [a, b]


@pytest.mark.parametrize("way", (threads_of_three_axes, two_axes_fused_onto_one))
@pytest.mark.parametrize("shape", CUBES, ids=str)
def test_cubes(way, shape):
    assert_way(way, CUBES, shape)
