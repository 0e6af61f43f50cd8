"""Lesson 7: replacing loops by an instruction, or by code of your own.

A tensor intrinsic is a small expression beside the code that computes it.  `tensorize` checks that the loops compute
that very expression, and puts the code in their place.
"""

import numpy as np

import tilewright
from tilewright import te
from tilewright.te import operators

rng = np.random.default_rng(0)

# An intrinsic of your own
# ------------------------
# What it means: 8 rows of a matrix times a vector of 16.  What it does: statements that a builder writes down.  With
# three parts, `reset` starts a sum and `update` adds to it, so that the reduction around it may be as long as it likes.

ROWS, DEPTH = 8, 16


def matrix_times_vector():
    a = te.placeholder((ROWS, DEPTH), name="a")
    x = te.placeholder((DEPTH,), name="x")
    k = te.reduce_axis((0, DEPTH), name="k")
    y = te.compute((ROWS,), lambda i: te.sum(a[i, k] * x[k], axis=k), name="y")

    def code(ins, outs):
        def reset():
            ib = te.ir_builder.create()
            y_at = ib.buffer_ptr(outs[0])
            with ib.for_range(0, ROWS, name="row") as row:
                y_at[row] = 0.0
            return ib.get()

        def update():
            ib = te.ir_builder.create()
            a_at, x_at, y_at = ib.buffer_ptr(ins[0]), ib.buffer_ptr(ins[1]), ib.buffer_ptr(outs[0])
            with ib.for_range(0, DEPTH, name="depth") as depth, ib.for_range(0, ROWS, name="row") as row:
                y_at[row] = y_at[row] + a_at[row, depth] * x_at[depth]
            return ib.get()

        ib = te.ir_builder.create()
        ib.emit(reset())
        ib.emit(update())
        return ib.get(), reset(), update()

    return te.decl_tensor_intrin(y.op, code, name="matrix_times_vector")


n, m = 32, 64
A = te.placeholder((n, m), name="A")
X = te.placeholder((m,), name="X")
k = te.reduce_axis((0, m), name="k")
Y = te.compute((n,), lambda i: te.sum(A[i, k] * X[k], axis=k), name="Y")

s = tilewright.create_schedule(Y.op)
i_o, i_i = s[Y].split(Y.op.axis[0], factor=ROWS)
k_o, k_i = s[Y].split(k, factor=DEPTH)
s[Y].reorder(i_o, k_o, i_i, k_i)
print("Before:", s, sep="\n")
s[Y].tensorize(i_i, matrix_times_vector())
print("\nAfter:", s, sep="\n")

a, x, y = rng.standard_normal((n, m), dtype="float32"), rng.standard_normal(m, dtype="float32"), np.empty(n, "float32")
tilewright.build(s, [A, X, Y], name="gemv")(a, x, y)
np.testing.assert_allclose(y, a.astype("float64") @ x, rtol=0, atol=m * np.finfo("float32").eps * 4)

# Loops that compute something else are refused, and both expressions are shown.

Z = te.compute((n,), lambda i: te.sum(A[i, k] + X[k], axis=k), name="Z")
s = tilewright.create_schedule(Z.op)
i_o, i_i = s[Z].split(Z.op.axis[0], factor=ROWS)
k_o, k_i = s[Z].split(k, factor=DEPTH)
s[Z].reorder(i_o, k_o, i_i, k_i)
s[Z].tensorize(i_i, matrix_times_vector())
try:
    tilewright.lower(s, [A, X, Z])
except tilewright.Error as refusal:
    print("\nRefused:", refusal, sep="\n")

# An intrinsic that comes with the package
# ----------------------------------------
# Products of bytes, added up in int32 four at a time: one instruction on many processors (vpdpbusd, sdot), and widening
# multiplications on the others.  The operand that varies from lane to lane is kept in groups of four bytes per lane.

rows, depth, columns, lanes = 8, 32, 64, 16
U = te.placeholder((rows, depth), "uint8", name="U")
W = te.placeholder((columns // lanes, depth // 4, lanes, 4), "int8", name="W")
group = te.reduce_axis((0, depth // 4), name="group")
byte = te.reduce_axis((0, 4), name="byte")
Dot = te.compute(
    (rows, columns // lanes, lanes),
    lambda i, panel, lane: te.sum(
        U[i, group * 4 + byte].astype("int32") * W[panel, group, lane, byte].astype("int32"), axis=[group, byte]
    ),
    name="Dot",
)
s = tilewright.create_schedule(Dot.op)
i, panel, lane = Dot.op.axis
i_o, i_i = s[Dot].split(i, factor=4)
s[Dot].reorder(i_o, panel, group, i_i, lane, byte)
s[Dot].unroll(i_i)
s[Dot].tensorize(lane, operators.dot4_u8s8_i32(lanes))
print("\nProducts of bytes:", s, sep="\n")

kernel = tilewright.build(s, [U, W, Dot], name="int8_product")
u = rng.integers(0, 256, (rows, depth), dtype="uint8")
w = rng.integers(-128, 128, (depth, columns), dtype="int8")
packed = np.ascontiguousarray(w.reshape(depth // 4, 4, columns // lanes, lanes).transpose(2, 0, 3, 1))
dot = np.empty((rows, columns // lanes, lanes), "int32")
kernel(u, packed, dot)
np.testing.assert_array_equal(dot.reshape(rows, columns), u.astype("int32") @ w.astype("int32"))
used = "vpdpbusd" if "vpdpbusd" in kernel.get_source("asm") else "widening multiplications or another instruction"
print(f"\nExact, with {used}.")
