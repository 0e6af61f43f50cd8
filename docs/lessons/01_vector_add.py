"""Lesson 1: the sum of two vectors.

A program has two halves.  The first says what is to be computed, one expression for each element of the result; the
second says how: in which loops, on which threads, in which lanes.  Only the first half decides the values.
"""

import numpy as np

import tilewright
from tilewright import te

# What to compute
# ---------------
# A placeholder stands for an array that the caller will pass in.  `te.compute` takes a shape and a function from
# indices to an element; the names of its arguments become the names of the loops.

n = 1 << 20
A = te.placeholder((n,), name="A")
B = te.placeholder((n,), name="B")
C = te.compute((n,), lambda i: A[i] + B[i], name="C")

# How to compute it
# -----------------
# A new schedule has decided nothing: each operator is a nest of plain loops.  Printing a schedule shows the loops that
# it means; do so after each step that you are not sure of.

s = tilewright.create_schedule(C.op)
print("Nothing decided:", s, sep="\n")

# `split` cuts one loop in two.  `s[C].op.axis` are the loops of C as they were declared, and a step gives back the
# loops that it has made.  Here the inner loop has 16 steps: as many float32 as an AVX-512 register holds.

outer, inner = s[C].split(C.op.axis[0], factor=16)
print("\nSplit:", s, sep="\n")

# The inner loop becomes vector instructions, and the outer one is shared out among the threads of the pool.

s[C].vectorize(inner)
s[C].parallel(outer)
print("\nVectorized and parallel:", s, sep="\n")

# Running it
# ----------
# `build` compiles for this machine.  The arguments are those of the list, in its order; the last array is written.

vector_add = tilewright.build(s, [A, B, C], target="llvm", name="vector_add")

rng = np.random.default_rng(0)
a = rng.standard_normal(n, dtype="float32")
b = rng.standard_normal(n, dtype="float32")
c = np.empty(n, "float32")
vector_add(a, b, c)
np.testing.assert_array_equal(c, a + b)
print("\nThe result is NumPy's, to the last bit.")

# A length that is not known
# --------------------------
# `te.size_var` is a size that the caller's arrays decide.  No multiple of 16 is promised now, so the steps that would
# run past the end are guarded; where the bounds prove that it cannot happen, there is no guard (as above).

m = te.size_var("m")
X = te.placeholder((m,), name="X")
Y = te.compute((m,), lambda i: X[i] * 2.0, name="Y")
s = tilewright.create_schedule(Y.op)
outer, inner = s[Y].split(Y.op.axis[0], factor=16)
s[Y].vectorize(inner)
print("\nAny length:", s, sep="\n")

double = tilewright.build(s, [X, Y], name="double")
for length in (1, 16, 1000):
    x, y = rng.standard_normal(length, dtype="float32"), np.empty(length, "float32")
    double(x, y)
    np.testing.assert_array_equal(y, x * 2)
print("\nLengths 1, 16 and 1000 are right, from one kernel.")
