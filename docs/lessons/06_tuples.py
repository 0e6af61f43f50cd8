"""Lesson 6: several results from one loop nest, and several from one kernel."""

import numpy as np

import tilewright
from tilewright import te

rng = np.random.default_rng(0)
m, n = 16, 24

# Several results of one operator
# -------------------------------
# A compute whose function gives a tuple declares one tensor for each entry, of one shape and possibly of several data
# types.  They share their loops: whatever is done to the stage is done to all of them.

A = te.placeholder((m, n), name="A")
B = te.placeholder((m, n), name="B")
Sum, Larger = te.compute((m, n), lambda i, j: (A[i, j] + B[i, j], A[i, j] > B[i, j]), name="Pair")

s = tilewright.create_schedule(Sum.op)  # Larger.op is the same operator
i_j = s[Sum].fuse(*Sum.op.axis)
outer, inner = s[Sum].split(i_j, factor=16)
s[Sum].vectorize(inner)
print("Two results:", s, sep="\n")

pair = tilewright.build(s, [A, B, Sum, Larger], name="pair")
a, b = rng.standard_normal((2, m, n), dtype="float32")
total, larger = np.empty((m, n), "float32"), np.empty((m, n), "bool")
pair(a, b, total, larger)
np.testing.assert_array_equal(total, a + b)
np.testing.assert_array_equal(larger, a > b)

# A reduction of several values, whose inputs are tuples too
# ----------------------------------------------------------
# The sum of complex numbers, kept as two arrays; and then their products, combined in pairs.


def multiply(x, y):
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


complex_product = te.comm_reducer(multiply, lambda re, im: (te.const(1, re), te.const(0, im)), name="complex_product")
Re = te.placeholder((m, n), name="Re")
Im = te.placeholder((m, n), name="Im")
k = te.reduce_axis((0, n), name="k")
ProdRe, ProdIm = te.compute((m,), lambda i: complex_product((Re[i, k], Im[i, k]), axis=k), name="Product")

# A later operator reads both results; compute_at moves the whole operator, with all its results.

Size = te.compute((m,), lambda i: te.sqrt(ProdRe[i] * ProdRe[i] + ProdIm[i] * ProdIm[i]), name="Size")
s = tilewright.create_schedule([ProdRe.op, Size.op])
print("\nTwo operators, three results:", s, sep="\n")

kernel = tilewright.build(s, [Re, Im, ProdRe, ProdIm, Size], name="products")
angle = rng.uniform(0, 2 * np.pi, (m, n))
re, im = np.cos(angle).astype("float32"), np.sin(angle).astype("float32")
out_re, out_im, out_size = np.empty((3, m), "float32")
kernel(re, im, out_re, out_im, out_size)
exact = np.prod(re.astype("complex128") + 1j * im.astype("complex128"), axis=1)
np.testing.assert_allclose(out_re + 1j * out_im, exact, rtol=0, atol=n * 4 * np.finfo("float32").eps)
np.testing.assert_allclose(out_size, np.abs(exact), rtol=0, atol=n * 4 * np.finfo("float32").eps)

s = tilewright.create_schedule(Size.op)
s[ProdRe].compute_at(s[Size], Size.op.axis[0])
print("\nOnly the size is wanted: the products are two numbers at a time.", s, sep="\n")
tilewright.build(s, [Re, Im, Size], name="sizes")(re, im, out_size)
np.testing.assert_allclose(out_size, np.abs(exact), rtol=0, atol=n * 4 * np.finfo("float32").eps)
print("\nAll results are NumPy's.")
