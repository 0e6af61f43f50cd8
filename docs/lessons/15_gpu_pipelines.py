"""Lesson 15: kernels for GPUs: copies that run ahead, and tensor cores.

A product of halves, in the order in which one would make it fast: tiles, copies under way while others are computed,
then the instructions that multiply whole matrices.  All of it is emulated, asynchronous copies included.
"""

import numpy as np

import tilewright
from tilewright import te
from tilewright.te.operators.tensor_cores import mma

rng = np.random.default_rng(0)
target = "cuda -arch=sm_80"
m, n, depth = 64, 96, 80
a = rng.uniform(-1, 1, (m, depth)).astype("float16")
b = rng.uniform(-1, 1, (depth, n)).astype("float16")
exact = a.astype("float64") @ b.astype("float64")

A = te.placeholder((m, depth), "float16", name="A")
B = te.placeholder((depth, n), "float16", name="B")
k = te.reduce_axis((0, depth), name="k")
C = te.compute((m, n), lambda i, j: te.sum(A[i, k].astype("float32") * B[k, j].astype("float32"), axis=k), name="C")


def check(schedule):
    """Build a version, compare its result, and give its text."""
    kernel = tilewright.build(schedule, [A, B, C], target, name="product", device="emulate")
    c = np.empty((m, n), "float32")
    kernel(a, b, c)
    # Products of halves are exact in float32; each of the additions rounds by half an ulp of a sum of at most `depth`.
    np.testing.assert_allclose(c, exact, rtol=0, atol=depth * depth * np.finfo("float32").eps / 2)
    return kernel.cuda_source.partition("TW_KERNEL")[2]


def share(stage, threads):
    """Let the threads of a block fill a stage together, 8 halves (16 bytes) at a time."""
    whole, lane = stage.split(stage.fuse(*stage.op.axis), factor=8)
    stage.vectorize(lane)
    for name, extent in threads:
        whole, thread = stage.split(whole, factor=extent)
        stage.bind(thread, name)


# Tiles
# -----
# A block computes 32 by 32 results, a thread 4 by 4 of them in registers (`cache_write` to "local").  16 steps of k at
# a time lie in shared memory.


def tiled():
    s = tilewright.create_schedule(C.op)
    Sums = s.cache_write(C, "local")
    tiles = [s.cache_read(x, "shared", [Sums]) for x in (A, B)]
    y, x, y_i, x_i = s[C].tile(*s[C].op.axis, 32, 32)
    y_t, y_i = s[C].split(y_i, factor=4)
    x_t, x_i = s[C].split(x_i, factor=4)
    s[C].reorder(y, x, y_t, x_t, y_i, x_i)
    for axis, name in ((y, "blockIdx.y"), (x, "blockIdx.x"), (y_t, "threadIdx.y"), (x_t, "threadIdx.x")):
        s[C].bind(axis, name)
    s[C].vectorize(x_i)
    s[Sums].compute_at(s[C], x_t)
    k_o, k_i = s[Sums].split(s[Sums].op.reduce_axis[0], factor=16)
    s[Sums].reorder(k_o, k_i, *s[Sums].op.axis)
    for tile in tiles:
        s[tile].compute_at(s[Sums], k_o)
        share(s[tile], (("threadIdx.x", 8), ("threadIdx.y", 8)))
    return s, s[Sums], k_o


s, _, _ = tiled()
print("Tiles:", s, sep="\n")
text = check(s)
print("\nEach step waits twice, once for the tiles and once before they are overwritten:", text.count("tw_barrier()"))

# Copies that run ahead
# ---------------------
# `pipeline` fills the shared tiles of later iterations while one is computed.  By way of registers there are two tiles;
# with asynchronous copies as many as there are stages.  What was one loop becomes a prologue, the loop, and waits.

s, sums, k_o = tiled()
sums.pipeline(k_o, 2, "register")
print("\nBy way of registers, one wait for each step:", check(s).count("tw_barrier()"))

s, sums, k_o = tiled()
sums.pipeline(k_o, 3, "cp_async")
text = check(s)
print("\nThree stages of asynchronous copies:", s, sep="\n")
for line in text.splitlines():
    if "cp_async" in line:
        print(line)

# Tensor cores
# ------------
# A warp multiplies 16 by 16 by 16 by 8 with one instruction, `mma`.  Operands and results are held by the 32 lanes of
# the warp together, each element in a register of one of them: scope "warp".  No step names the lanes; `tensorize`
# checks that the loops compute what the instruction computes.  A swizzle keeps the rows of a shared tile out of each
# other's banks, and operands are taken from it by ldmatrix.

s = tilewright.create_schedule(C.op)
Sums = s.cache_write(C, "warp")
tiles = [s.cache_read(x, "shared", [Sums]) for x in (A, B)]
fragments = [s.cache_read(x, "warp", [Sums]) for x in tiles]
y, x, y_i, x_i = s[C].tile(*s[C].op.axis, 32, 32)
y_w, y_i = s[C].split(y_i, factor=16)
s[C].reorder(y, x, y_w, y_i, x_i)
for axis, name in ((y, "blockIdx.y"), (x, "blockIdx.x"), (y_w, "threadIdx.y")):
    s[C].bind(axis, name)

s[Sums].compute_at(s[C], y_w)
i, j = s[Sums].op.axis
i_o, i_i = s[Sums].split(i, factor=16)
j_o, j_i = s[Sums].split(j, factor=8)
k_o, k_i = s[Sums].split(s[Sums].op.reduce_axis[0], factor=16)
s[Sums].reorder(k_o, i_o, j_o, i_i, j_i, k_i)
s[Sums].unroll(j_o)
s[Sums].tensorize(i_i, mma("float16"))
for tile, fragment in zip(tiles, fragments, strict=True):
    s[fragment].compute_at(s[Sums], k_o)
    s[tile].compute_at(s[Sums], k_o)
    s[tile].swizzle("xor")
    share(s[tile], (("threadIdx.x", 32), ("threadIdx.y", 2)))
s[Sums].pipeline(k_o, 3, "cp_async")
print("\nOn tensor cores:", s, sep="\n")
text = check(s)
for name in ("tw_ldmatrix_x4", "tw_ldmatrix_x4_trans", "tw_mma_m16n8k16_f16"):
    print(f"{name}: {text.count(name + '(')}")

print("\nAll products are right.")
