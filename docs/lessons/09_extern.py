"""Lesson 9: operators that are not expressions: loops written by hand, functions of C, functions of Python."""

import ctypes

import numpy as np

import tilewright
from tilewright import te
from tilewright.runtime.externs import register_extern

rng = np.random.default_rng(0)
n = 12
A = te.placeholder((n, n), name="A")
a = rng.standard_normal((n, n), dtype="float32")

# Statements, written with a builder
# ----------------------------------
# `te.extern` gives a tensor that statements fill in.  The function gets the buffers of the inputs and of the results.
# Solving L x = b, row by row, is no expression of one element: each needs those before it.

b_vector = te.placeholder((n,), name="b")


def forward_substitution(ins, outs):
    ib = te.ir_builder.create()
    lower, right, x = ib.buffer_ptr(ins[0]), ib.buffer_ptr(ins[1]), ib.buffer_ptr(outs[0])
    with ib.for_range(0, n, name="row") as row:
        x[row] = right[row]
        with ib.for_range(0, row, name="column") as column:
            x[row] = x[row] - lower[row, column] * x[column]
        x[row] = x[row] / lower[row, row]
    return ib.get()


X = te.extern((n,), [A, b_vector], forward_substitution, name="X")

# What comes before and after it is expressions as always, with schedules of their own.

Scaled = te.compute((n,), lambda i: X[i] * 2.0, name="Scaled")
s = tilewright.create_schedule(Scaled.op)
s[Scaled].vectorize(Scaled.op.axis[0])
print("Forward substitution:", s, sep="\n")

lower = (np.tril(a) + 4 * np.eye(n)).astype("float32")
b, scaled = rng.standard_normal(n, dtype="float32"), np.empty(n, "float32")
tilewright.build(s, [A, b_vector, Scaled], name="solve")(lower, b, scaled)
np.testing.assert_allclose(scaled, 2 * np.linalg.solve(lower.astype("float64"), b), rtol=1e-5)  # of a condition near 1

# A function of Python
# --------------------
# It is registered by a name and a signature; "handle" is an address.  It runs with Python's lock held, and what it
# raises is raised again by the kernel's call.  A buffer is passed by `access_ptr`.


def sort_rows(source, target):
    elements = ctypes.POINTER(ctypes.c_float)
    rows = np.ctypeslib.as_array(ctypes.cast(source, elements), (n, n))
    np.ctypeslib.as_array(ctypes.cast(target, elements), (n, n))[:] = np.sort(rows, axis=1)
    return 0


register_extern("sort_rows", sort_rows, ("int32", ("handle", "handle")))
Sorted = te.extern(
    (n, n),
    [A],
    lambda ins, outs: te.call_extern("int32", "sort_rows", ins[0].access_ptr("r"), outs[0].access_ptr("w")),
    name="Sorted",
)
s = tilewright.create_schedule(Sorted.op)
print("\nSorting, by NumPy:", s, sep="\n")
result = np.empty((n, n), "float32")
tilewright.build(s, [A, Sorted], name="sort")(a, result)
np.testing.assert_array_equal(result, np.sort(a, axis=1))

# A function of C
# ---------------
# Any symbol of the process is found by its name, without registration: here `memcpy`, for a copy of each second row.


def copy_second_rows(ins, outs):
    ib = te.ir_builder.create()
    with ib.for_range(0, n // 2, name="row") as row:
        target, source = outs[0].access_ptr("w", offset=row * n), ins[0].access_ptr("r", offset=row * 2 * n)
        ib.emit(te.call_extern("handle", "memcpy", target, source, te.const(4 * n, "int64")))
    return ib.get()


Rows = te.extern((n // 2, n), [A], copy_second_rows, name="Rows")
s = tilewright.create_schedule(Rows.op)
print("\nCopying, by the C library:", s, sep="\n")
result = np.empty((n // 2, n), "float32")
tilewright.build(s, [A, Rows], name="second_rows")(a, result)
np.testing.assert_array_equal(result, a[::2])
print("\nAll three are right.")
