"""Random tensor programs whose values are exact: small integers, so that every order of summation gives the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from tilewright import te
from tilewright.te.intrin import TensorIntrin

FLOATS = ("float32", "float64")
EXACT = ("float32", "float32", "float32", "int32", "float64", "int64")


@dataclass(slots=True)
class Program:
    """A program to schedule.

    family      the generator's name
    inputs      placeholders, in argument order
    outputs     wanted tensors
    intrinsics  (tensor, extents of the innermost loops, intrinsic) that may be tensorized
    """

    family: str
    inputs: list[te.Tensor]
    outputs: list[te.Tensor]
    intrinsics: list[tuple[te.Tensor, dict[str, int], TensorIntrin]] = field(default_factory=list)

    def feeds(self, seed: int) -> list[np.ndarray]:
        """Give random input arrays of small integers."""
        rng = np.random.default_rng(seed)
        return [_values(rng, [int(e.value) for e in t.shape], str(t.dtype)) for t in self.inputs]


def _values(rng: np.random.Generator, shape: list[int], dtype: str) -> np.ndarray:
    low = 0 if dtype.startswith("uint") else -3
    return rng.integers(low, 4, size=shape).astype(dtype)


def extent(rng: Random, most: int = 13) -> int:
    """Give a size: often odd, sometimes 1."""
    return rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16)[:most])


def elementwise(rng: Random) -> Program:
    """Two to four stages of arithmetic over one to three dimensions."""
    shape = tuple(extent(rng) for _ in range(rng.randint(1, 3)))
    dtype = rng.choice(EXACT)
    a = te.placeholder(shape, dtype, name="A")
    b = te.placeholder(shape, dtype, name="B")
    last = a
    for n in range(rng.randint(2, 4)):
        last = _pointwise(rng, f"T{n}", last, rng.choice((a, b)))
    return Program("elementwise", [a, b], [last])


def _pointwise(rng: Random, name: str, x: te.Tensor, y: te.Tensor) -> te.Tensor:
    kind = rng.randrange(6)

    def body(*i):
        p, q = x[i], y[i]
        return (
            p + q, p - q * 2, te.if_then_else(p > q, p, q + 1), p * 2 + 1,
            te.select(i[0] % 2 < 1, p, q), te.if_then_else(te.any(i[-1] < 2, p < q), p, -q),
        )[kind]  # fmt: skip

    return te.compute(x.shape, body, name=name)


def broadcast(rng: Random) -> Program:
    """A matrix combined with a row and a column, transposed, or shifted."""
    n, m = extent(rng), extent(rng)
    dtype = rng.choice(EXACT)
    a = te.placeholder((n, m), dtype, name="A")
    row = te.placeholder((m,), dtype, name="R")
    column = te.placeholder((n,), dtype, name="L")
    scaled = te.compute((n, m), lambda i, j: a[i, j] * row[j], name="S")
    turned = te.compute((m, n), lambda i, j: scaled[j, i] + column[j], name="T")
    shifted = te.compute((m, n), lambda i, j: te.if_then_else(i > 0, turned[i - 1, j], turned[i, n - 1 - j]), name="U")
    return Program("broadcast", [a, row, column], [shifted])


def matmul(rng: Random) -> Program:
    """A product of matrices, with a stage before and a stage after it."""
    n, m, k = extent(rng), extent(rng), extent(rng)
    dtype = rng.choice(EXACT)
    a = te.placeholder((n, k), dtype, name="A")
    b = te.placeholder((m, k) if rng.random() < 0.5 else (k, m), dtype, name="B")
    transposed = b.op.shape[0] is not None and int(b.shape[0].value) == m and int(b.shape[1].value) == k
    pre = te.compute((n, k), lambda i, j: a[i, j] + 1, name="P")
    over = te.reduce_axis((0, k), name="k")
    c = te.compute(
        (n, m), lambda i, j: te.sum(pre[i, over] * (b[j, over] if transposed else b[over, j]), axis=over), name="C"
    )
    if rng.random() < 0.3:
        return Program("matmul", [a, b], [c])
    post = te.compute((n, m), lambda i, j: te.if_then_else(c[i, j] > 0, c[i, j], 0 * c[i, j]) + i, name="D")
    return Program("matmul", [a, b], [post])


def conv(rng: Random) -> Program:
    """A convolution over a padded image, one- or two-dimensional, with stride."""
    channels, filters, size, kernel = rng.randint(1, 4), extent(rng, 7), rng.randint(3, 9), rng.randint(1, 3)
    stride, pad = rng.randint(1, 2), rng.randint(0, 2)
    out = (size + 2 * pad - kernel) // stride + 1
    dtype = rng.choice(EXACT)
    data = te.placeholder((channels, size, size), dtype, name="X")
    weight = te.placeholder((filters, channels, kernel, kernel), dtype, name="W")
    padded = te.compute(
        (channels, size + 2 * pad, size + 2 * pad),
        lambda c, y, x: te.if_then_else(
            te.all(y >= pad, y < size + pad, x >= pad, x < size + pad),
            data[c, y - pad, x - pad],
            te.const(0, dtype),
        ),
        name="pad",
    )
    rc, ry, rx = (te.reduce_axis((0, e), name=n) for e, n in ((channels, "rc"), (kernel, "ry"), (kernel, "rx")))
    result = te.compute(
        (filters, out, out),
        lambda f, y, x: te.sum(padded[rc, y * stride + ry, x * stride + rx] * weight[f, rc, ry, rx], axis=[rc, ry, rx]),
        name="conv",
    )
    relu = te.compute(
        result.shape, lambda f, y, x: te.select(result[f, y, x] > 0, result[f, y, x], 0 * result[f, y, x]), name="relu"
    )
    return Program("conv", [data, weight], [relu])


def reduction(rng: Random) -> Program:
    """A sum, maximum or minimum over one or two axes, sometimes over part of them, used by a second stage."""
    n, m, k = extent(rng), extent(rng), extent(rng)
    dtype = rng.choice(EXACT)
    a = te.placeholder((n, m, k), dtype, name="A")
    combine = rng.choice((te.sum, te.max, te.min))
    r, q = te.reduce_axis((0, k), name="r"), te.reduce_axis((0, m), name="q")
    if rng.random() < 0.5:
        where = (r + q) % 2 < 1 if rng.random() < 0.3 and combine is te.sum else None
        b = te.compute(
            (n,),
            lambda i: combine(a[i, q, r], axis=[q, r], **({"where": where} if where is not None else {})),
            name="B",
        )
        out = te.compute((n, m), lambda i, j: a[i, j, 0] - b[i], name="C")
    else:
        b = te.compute((n, m), lambda i, j: combine(a[i, j, r], axis=r), name="B")
        out = te.compute((m, n), lambda i, j: b[j, i] * 2, name="C")
    return Program("reduction", [a], [out])


def argmax(rng: Random) -> Program:
    """The index and the value of the greatest element of each row; all values differ, so that no tie decides."""
    n, k = extent(rng), extent(rng)
    index = te.placeholder((n, k), "int32", name="I")
    value = te.placeholder((n, k), "float32", name="V")

    def combine(x, y):
        left = te.any(x[1] > y[1], te.all(x[1].equal(y[1]), x[0] < y[0]))
        return te.if_then_else(left, x[0], y[0]), te.if_then_else(left, x[1], y[1])

    def identity(t0, t1):
        return te.const(1 << 20, t0), te.min_value(t1)

    reducer = te.comm_reducer(combine, identity, name="argmax")
    r = te.reduce_axis((0, k), name="r")
    best, greatest = te.compute((n,), lambda i: reducer((index[i, r], value[i, r]), axis=r), name="M")
    return Program("argmax", [index, value], [best, greatest])


def complex_product(rng: Random) -> Program:
    """A product of complex numbers: two sums that each need both components of the running value."""
    n, k = extent(rng), extent(rng, 9)
    real = te.placeholder((n, k), "float32", name="X")
    imaginary = te.placeholder((n, k), "float32", name="Y")

    def combine(a, b):
        return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]

    def one(t0, t1):
        return te.const(1, t0), te.const(0, t1)

    reducer = te.comm_reducer(combine, one, name="product")
    r = te.reduce_axis((0, k), name="r")
    p0, p1 = te.compute((n,), lambda i: reducer((real[i, r], imaginary[i, r]), axis=r), name="Z")
    return Program("complex_product", [real, imaginary], [p0, p1])


def scan(rng: Random) -> Program:
    """A running combination along the first dimension."""
    steps, width = rng.randint(2, 7), extent(rng)
    x = te.placeholder((steps, width), "float32", name="X")
    state = te.placeholder((steps, width), "float32", name="S")
    init = te.compute((1, width), lambda _, i: x[0, i], name="init")
    if rng.random() < 0.5:
        update = te.compute((steps, width), lambda t, i: state[t - 1, i] + x[t, i], name="update")
    else:
        middle = te.compute((steps, width), lambda t, i: state[t - 1, i] - 1, name="middle")
        update = te.compute(
            (steps, width), lambda t, i: te.if_then_else(middle[t, i] > x[t, i], middle[t, i], x[t, i]), name="update"
        )
    result = te.scan(init, update, state, inputs=[x], name="scan")
    return Program("scan", [x], [result])


def two_outputs(rng: Random) -> Program:
    """Two results of one operator, and a third that reads one of them."""
    n, m = extent(rng), extent(rng)
    a = te.placeholder((n, m), "float32", name="A")
    b = te.placeholder((n, m), "int32", name="B")
    c0, c1 = te.compute((n, m), lambda i, j: (a[i, j] + 2, b[i, j] * 3), name="C")
    d = te.compute((n, m), lambda i, j: c0[i, m - 1 - j] + 1, name="D")
    return Program("two_outputs", [a, b], [c1, d])


def reshape(rng: Random) -> Program:
    """A tensor read through divisions and remainders, then reduced."""
    n, m = rng.choice((2, 4, 6, 12)), rng.choice((3, 4, 6))
    a = te.placeholder((n, m), "float32", name="A")
    b = te.compute((m, n), lambda i, j: a[(i * n + j) // m, (i * n + j) % m], name="B")
    r = te.reduce_axis((0, n), name="r")
    c = te.compute((m,), lambda i: te.sum(b[i, r], axis=r), name="C")
    d = te.compute((n, m), lambda i, j: c[j] + b[j, i], name="D")
    return Program("reshape", [a], [d])


def tensorized(rng: Random) -> Program:
    """A product of matrices, or a sum of vectors, whose tile is an intrinsic."""
    tile = rng.choice((2, 4))
    n, m = rng.randint(1, 4), tile * rng.randint(1, 4)
    a = te.placeholder((n, m), "float32", name="A")
    b = te.placeholder((n, m), "float32", name="B")
    p = te.compute((n, m), lambda i, j: a[i, j] * 2, name="P")
    c = te.compute((n, m), lambda i, j: p[i, j] + b[i, j], name="C")
    return Program("tensorized", [a, b], [c], [(c, {"j": tile}, _vector_add(tile))])


def _vector_add(tile: int) -> TensorIntrin:
    x = te.placeholder((tile,), "float32", name="x")
    y = te.placeholder((tile,), "float32", name="y")
    z = te.compute((tile,), lambda i: x[i] + y[i], name="z")

    def body(ins, outs):
        builder = te.builder.create()
        left, right = builder.buffer_ptr(ins[0]), builder.buffer_ptr(ins[1])
        result = builder.buffer_ptr(outs[0])
        with builder.for_range(0, tile, name="l") as lane:
            result[lane] = left[lane] + right[lane]
        return builder.get()

    return te.decl_tensor_intrin(z.op, body, name=f"vector_add_{tile}")


def gemv(rng: Random) -> Program:
    """A product of matrices whose inner tile is a small matrix times a vector, with body, reset and update."""
    rows, depth = rng.choice((2, 4)), rng.choice((2, 3))
    n, m, k = rng.randint(1, 4), rows * rng.randint(1, 3), depth * rng.randint(1, 3)
    a = te.placeholder((n, k), "float32", name="A")
    b = te.placeholder((m, k), "float32", name="B")
    over = te.reduce_axis((0, k), name="k")
    c = te.compute((n, m), lambda i, j: te.sum(b[j, over] * a[i, over], axis=over), name="C")
    return Program("gemv", [a, b], [c], [(c, {"j": rows, "k": depth}, _gemv(rows, depth))])


def _gemv(rows: int, depth: int) -> TensorIntrin:
    w = te.placeholder((rows, depth), "float32", name="w")
    v = te.placeholder((depth,), "float32", name="v")
    k = te.reduce_axis((0, depth), name="k")
    z = te.compute((rows,), lambda i: te.sum(w[i, k] * v[k], axis=k), name="z")

    def statements(ins, outs, start, add):
        builder = te.builder.create()
        matrix, vector = builder.buffer_ptr(ins[0]), builder.buffer_ptr(ins[1])
        result = builder.buffer_ptr(outs[0])
        with builder.for_range(0, rows, name="r") as r:
            if start:
                result[r] = te.const(0, "float32")
            if add:
                with builder.for_range(0, depth, name="d") as d:
                    result[r] = result[r] + matrix[r, d] * vector[d]
        return builder.get()

    def parts(ins, outs):
        return statements(ins, outs, True, True), statements(ins, outs, True, False), statements(ins, outs, False, True)

    return te.decl_tensor_intrin(z.op, parts, name=f"gemv_{rows}_{depth}")


FAMILIES: tuple[Callable[[Random], Program], ...] = (
    elementwise, elementwise, broadcast, matmul, matmul, matmul, conv, conv, reduction, reduction, argmax,
    complex_product, scan,
    two_outputs, reshape, tensorized, gemv,
)  # fmt: skip


def random_program(rng: Random) -> Program:
    """Give a program of a random family."""
    return rng.choice(FAMILIES)(rng)
