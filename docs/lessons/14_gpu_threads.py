"""Lesson 14: kernels for GPUs: blocks and threads, shared memory, reductions that threads share.

`device="emulate"` runs the emitted kernels on this processor and checks every access of theirs, so that the lesson
needs no GPU.  On a machine with one, leave it out.
"""

import numpy as np

import tilewright
from tilewright import te
from tilewright.te import operators

rng = np.random.default_rng(0)
target = "cuda -arch=sm_80"

# Blocks and threads
# ------------------
# `bind` gives the iterations of a loop to a thread axis.  The nest keeps its loops: that of a thread axis means "all of
# these, in any order".  What does not divide is guarded, and a grid may be computed from sizes.

n = te.var("n")
X, Y = te.placeholder((n,), name="X"), te.placeholder((n,), name="Y")
Z = te.compute((n,), lambda i: X[i] * 2.0 + Y[i], name="Z")
s = tilewright.create_schedule(Z.op)
block, thread = s[Z].split(Z.op.axis[0], factor=128)
s[Z].bind(block, "blockIdx.x")
s[Z].bind(thread, "threadIdx.x")
print("A line:", s, sep="\n")

line = tilewright.build(s, [X, Y, Z], target, name="line", device="emulate")
print("\nIts kernel, as text:", line.cuda_source.partition("TW_KERNEL")[2], sep="\n")
for size in (1, 128, 1000):
    x, y, z = rng.random(size, "float32"), rng.random(size, "float32"), np.empty(size, "float32")
    line(x, y, z)
    np.testing.assert_allclose(z, x * 2 + y, rtol=2 * np.finfo("float32").eps)  # two roundings, or one when fused

# Shared memory
# -------------
# A transposition reads rows and writes columns; neighbouring threads should do both side by side.  So each block copies
# a tile to shared memory: `cache_read`, computed at the loop over blocks.  The copy is a stage like any other: its
# loops are bound to the same threads, which fill the tile together.  The padding keeps a column of the tile out of one
# bank. Where threads wait for each other is planned from what they read and write; no step asks for a barrier.

rows, columns, tile = 100, 70, 32
A = te.placeholder((rows, columns), name="A")
T = te.compute((columns, rows), lambda i, j: A[j, i], name="T")
s = tilewright.create_schedule(T.op)
Tile = s.cache_read(A, "shared", [T])
i_o, j_o, i_i, j_i = s[T].tile(*T.op.axis, tile, tile)
i_i, i_t = s[T].split(i_i, factor=8)
for axis, name in ((i_o, "blockIdx.y"), (j_o, "blockIdx.x"), (i_t, "threadIdx.y"), (j_i, "threadIdx.x")):
    s[T].bind(axis, name)

s[Tile].compute_at(s[T], j_o)
s[Tile].storage_align(s[Tile].op.axis[0], tile, 1)
row, column = s[Tile].op.axis
s[Tile].bind(s[Tile].split(row, factor=8)[1], "threadIdx.y")
s[Tile].bind(column, "threadIdx.x")
print("\nA transposition:", s, sep="\n")

transpose = tilewright.build(s, [A, T], target, name="transpose", device="emulate")
text = transpose.cuda_source.partition("TW_KERNEL")[2]
print("\nThe threads wait once:", text, sep="\n")
assert text.count("tw_barrier") == 1
a, t = rng.random((rows, columns), "float32"), np.empty((columns, rows), "float32")
transpose(a, t)
np.testing.assert_array_equal(t, a.T)

# A reduction that threads share
# ------------------------------
# Iterations of a reduction may not run at the same time, but for the threads of a block, which know how to combine
# their parts: a warp by shuffles, several warps by way of shared memory.

k = te.reduce_axis((0, columns), name="k")
Total = te.compute((rows,), lambda i: te.sum(A[i, k], axis=k), name="Total")
s = tilewright.create_schedule(Total.op)
k_o, k_i = s[Total].split(k, factor=32)
s[Total].bind(k_i, "threadIdx.x")
block, row = s[Total].split(Total.op.axis[0], factor=4)
s[Total].bind(block, "blockIdx.x")
s[Total].bind(row, "threadIdx.y")
print("\nSums of rows, each by a warp:", s, sep="\n")

sums = tilewright.build(s, [A, Total], target, name="sums", device="emulate")
print("\nFive shuffles:", sums.cuda_source.count("tw_shuffle_xor"))
total = np.empty(rows, "float32")
sums(a, total)
np.testing.assert_allclose(total, a.sum(1, dtype="float64"), rtol=columns * np.finfo("float32").eps)

# Virtual threads
# ---------------
# A thread that computes several results far apart, as `vthread` has it, reads shared memory without conflicts where one
# that computes neighbours would not.  They are written out side by side, each with registers of its own.

V = te.compute((rows, columns), lambda i, j: A[i, j] * A[i, j], name="V")
s = tilewright.create_schedule(V.op)
j_o, j_i = s[V].split(V.op.axis[1], factor=32)
virtual, j_t = s[V].split(j_i, nparts=2)
s[V].bind(V.op.axis[0], "blockIdx.x")
s[V].bind(virtual, "vthread")
s[V].bind(j_t, "threadIdx.x")
print("\nTwo virtual threads:", s, sep="\n")
squares = tilewright.build(s, [A, V], target, name="squares", device="emulate")
v = np.empty_like(a)
squares(a, v)
np.testing.assert_array_equal(v, a * a)

# What no GPU can do is refused before anything is compiled.

s = tilewright.create_schedule(Z.op)
block, thread = s[Z].split(Z.op.axis[0], factor=2048)
s[Z].bind(block, "blockIdx.x")
s[Z].bind(thread, "threadIdx.x")
try:
    tilewright.build(s, [X, Y, Z], target, device="emulate")
except tilewright.Error as refusal:
    print("\nRefused:", refusal, sep="\n")

# A program that nobody has scheduled gets a default: here four kernels, which hand on what they compute.

scores = te.placeholder((20, 300), name="scores")
probabilities = operators.softmax(scores)
s = tilewright.default_schedule([probabilities], tilewright.Target.parse(target))
softmax = tilewright.build(s, [scores, probabilities], target, name="softmax", device="emulate")
x, p = rng.random((20, 300), "float32"), np.empty((20, 300), "float32")
softmax(x, p)
exact = np.exp(x.astype("float64"))
np.testing.assert_allclose(p, exact / exact.sum(1, keepdims=True), rtol=310 * np.finfo("float32").eps)
print("\nSoftmax by default takes", softmax.cuda_source.count("TW_KERNEL"), "kernels.")
