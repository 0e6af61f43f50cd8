"""Lesson 17: caches: stores past them, and reads that are asked for ahead of time."""

import numpy as np

import tilewright
from tilewright import te

# Results that nobody reads soon
# ------------------------------
# A store to memory that is not in a cache first fetches the line that it writes to, and every line that comes in puts
# another one out.  For a result larger than the caches both are for nothing: a third of the bytes of a copy.

n = 1 << 20
A = te.placeholder((n,), name="A")
B = te.placeholder((n,), name="B")
C = te.compute((n,), lambda i: te.max(A[i] + B[i], 0.0), name="C")


def in_blocks(streamed):
    """Give vectors of 64 in blocks that threads share."""
    s = tilewright.create_schedule(C.op)
    block, inner = s[C].split(C.op.axis[0], factor=1 << 14)
    inner, lane = s[C].split(inner, factor=64)
    s[C].vectorize(lane)
    s[C].parallel(block)
    if streamed:
        s[C].stream(inner)
    return s


# `stream` marks a loop of the stage: what the loops from there inwards store goes past the caches.

streamed = in_blocks(True)
print("Streamed:", streamed, sep="\n")
rng = np.random.default_rng(0)
a, b = (rng.random(n, dtype="float32") - 0.5 for _ in range(2))
c = np.empty_like(a)
module = tilewright.build(streamed, [A, B, C])
module["main"](a, b, c)
np.testing.assert_array_equal(c, np.maximum(a + b, 0))

# Only whole vectors at addresses that are multiples of 16 bytes can be stored so.  The kernel looks at the address and
# stores as ever where it is another one: values are the same.

shifted = np.empty(n + 1, "float32")[1:]
module["main"](a, b, shifted)
np.testing.assert_array_equal(shifted, c)
machine_code = module.assembly
print("Instructions that store past the caches:", "vmovnt" in machine_code or "stnp" in machine_code)

# It says nothing about values, so it is refused only where it would be a mistake: what is read again has to come back.

total = te.compute((n,), lambda i: C[i] * 2.0, name="total")
other = tilewright.create_schedule(total.op)
try:
    other[C].stream(C.op.axis[0])
except tilewright.Error as error:
    print("Refused:", error, sep="\n")

# What is read later
# ------------------
# Processors see by themselves that rows are read from end to end.  In another order they may not: here each iteration
# reads one element of each row.  `prefetch` asks for what a later iteration reads, once for every line of 64 bytes.

rows, columns = 64, 4096
M = te.placeholder((rows, columns), name="M")
V = te.compute((columns // 64, rows), lambda i, j: M[j, i * 64 * 37 % columns] * 2.0, name="V")
s = tilewright.create_schedule(V.op)
s[V].prefetch(M, V.op.axis[0], 2)
print("Two iterations ahead:", s, sep="\n")
m = rng.random((rows, columns), dtype="float32")
v = np.empty((columns // 64, rows), "float32")
tilewright.build(s, [M, V])["main"](m, v)
np.testing.assert_array_equal(v, m[:, np.arange(columns // 64) * 64 * 37 % columns].T * 2)

# With `evenly`, loops inside that read the same piece of memory many times ask for the next piece bit by bit: each line
# once, and never many at a time.  Here each of 8 rows asks for an eighth of the next panel of weights.

A = te.placeholder((8, 256), name="A")
P = te.placeholder((3, 256, 16), name="P")
k = te.reduce_axis((0, 256), "k")
product = te.compute((8, 48), lambda i, j: te.sum(A[i, k] * P[j // 16, k, j % 16], axis=k), name="product")
s = tilewright.create_schedule(product.op)
row, column = product.op.axis
panel, lane = s[product].split(column, factor=16)
s[product].reorder(panel, row, k, lane)
s[product].vectorize(lane)
s[product].prefetch(P, panel, evenly=True)
print("The next panel, bit by bit:", s, sep="\n")

# Whether either pays only a measurement tells, on the shapes and the machine in question.  Templates stream the results
# of elementwise operators and normalized rows that move 16 MB and more, and ask ahead for packed weights of products.
