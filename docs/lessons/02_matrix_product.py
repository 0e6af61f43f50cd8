"""Lesson 2: the product of two matrices, made fast in four steps.

Each step keeps the expression and changes the loops.  The speeds are printed as multiples of the first version, all
measured in turn on this machine: what they are depends on yours.
"""

import numpy as np

import tilewright
from tilewright import te
from tilewright.runtime.timing import interleaved

n = 512
rng = np.random.default_rng(0)
a = rng.standard_normal((n, n), dtype="float32")
b = rng.standard_normal((n, n), dtype="float32")
c = np.empty((n, n), "float32")
exact = a.astype("float64") @ b
bound_calls = {}


def check(name, schedule, tensors, threads=1):
    """Build a version, compare its result with NumPy's, and keep it to be timed."""
    kernel = tilewright.build(schedule, tensors, name="matmul").kernel
    c.fill(0)
    kernel(a, b, c)
    np.testing.assert_allclose(c, exact, rtol=0, atol=n * np.finfo("float32").eps * 4)
    bound_calls[name] = kernel.bind(a, b, c, threads=threads)
    print(f"\n{name}:\n{schedule}")


# What to compute
# ---------------
# A reduction axis runs over what is summed.  It is declared apart from the result's axes because a schedule may do more
# with it: it may be split and reordered like any other, but it may not run in parallel, which would be a race.

A = te.placeholder((n, n), name="A")
B = te.placeholder((n, n), name="B")
k = te.reduce_axis((0, n), name="k")
C = te.compute((n, n), lambda y, x: te.sum(A[y, k] * B[k, x], axis=k), name="C")

# Three plain loops
# -----------------

s = tilewright.create_schedule(C.op)
check("plain", s, [A, B, C])

# Blocks
# ------
# A tile of 8 rows by 32 columns is computed together, so that what is loaded is used several times.  Its columns are
# vector lanes and its rows are written out: the sums of the tile then live in registers while k runs.

s = tilewright.create_schedule(C.op)
y_o, x_o, y_i, x_i = s[C].tile(*C.op.axis, 8, 32)
k_o, k_i = s[C].split(k, factor=4)
s[C].reorder(y_o, x_o, k_o, k_i, y_i, x_i)
s[C].unroll(y_i)
s[C].vectorize(x_i)
check("blocks", s, [A, B, C])

# Packing
# -------
# The columns of a block of B are n elements apart from row to row.  A stage of its own lays B out in panels of 32
# columns, once, so that the inner loop reads memory from front to back.  This is an expression, not a schedule step:
# `packed` is a tensor like any other, and so it is scheduled like one.

packed = te.compute((n // 32, n, 32), lambda panel, row, lane: B[row, panel * 32 + lane], name="packed")
k = te.reduce_axis((0, n), name="k")
C = te.compute((n, n), lambda y, x: te.sum(A[y, k] * packed[x // 32, k, x % 32], axis=k), name="C")


def blocks(s, stage):
    """Give `stage` the loops of the second version."""
    y_o, x_o, y_i, x_i = s[stage].tile(*s[stage].op.axis, 8, 32)
    k_o, k_i = s[stage].split(s[stage].op.reduce_axis[0], factor=4)
    s[stage].reorder(x_o, y_o, k_o, k_i, y_i, x_i)
    s[stage].unroll(y_i)
    s[stage].vectorize(x_i)
    return x_o, y_o


s = tilewright.create_schedule(C.op)
blocks(s, C)
s[packed].vectorize(packed.op.axis[2])
check("packed", s, [A, B, C])

# A write cache
# -------------
# `cache_write` computes C into memory of its own and copies it to its place.  Where the copy happens is decided by
# `compute_at`: here once for each tile, so that the cache is as small as the tile.

s = tilewright.create_schedule(C.op)
cache = s.cache_write(C, "local")
y_o, x_o, y_i, x_i = s[C].tile(*C.op.axis, 8, 32)
s[C].reorder(x_o, y_o, y_i, x_i)
s[C].vectorize(x_i)
s[cache].compute_at(s[C], y_o)
y_c, x_c = s[cache].op.axis
k_o, k_i = s[cache].split(s[cache].op.reduce_axis[0], factor=4)
s[cache].reorder(k_o, k_i, y_c, x_c)
s[cache].unroll(k_i)
s[cache].unroll(y_c)
s[cache].vectorize(x_c)
s[packed].vectorize(packed.op.axis[2])
check("write cache", s, [A, B, C])

# Threads
# -------
# The panels of columns are independent, so that the outermost loop may run in parallel.

s[C].parallel(x_o)
s[packed].parallel(packed.op.axis[0])
check("parallel", s, [A, B, C], threads=None)  # as many as there are processors

# What it was worth
# -----------------
# All versions in turn, round after round, so that a disturbance meets all of them.  Those before the last are on one
# thread.  (The write cache gains little here: the compiler keeps the sums of a tile in registers by itself.)

timings = interleaved(list(bound_calls.values()), rounds=5)
first = timings[0].median
print("\nSpeed against the plain version:")
for name, timing in zip(bound_calls, timings, strict=True):
    gflops = 2 * n**3 / timing.median / 1e9
    print(f"  {name:12} {first / timing.median:6.1f} times  ({gflops:.1f} GFLOP/s)")
