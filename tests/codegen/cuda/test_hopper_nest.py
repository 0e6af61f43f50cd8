"""A product for sm_90a said as a loop nest by hand: persistent blocks, a cluster, a ring, warp roles, wgmma."""

from __future__ import annotations

import numpy as np

from tilewright.ir.parser import parse_function

from .running import HOPPER, emulated, interpreted

M, N, K = 250, 24, 40

# Four blocks walk over the 2 x 3 tiles of 128 x 8, in clusters of two that share columns.  A producer fills a ring of
# two slices of 16 of the depth; two consumer warpgroups multiply 64 rows each.
NEST = """\
def gemm(A: float16[250, 40], B: float16[24, 40], D: Out[float32[250, 24]]):
    for walk in range(2):
        for block in thread("blockIdx.y", 2):
            for peer in thread("blockIdx.x", 2, cluster=1):
                if walk * 2 + block < 3:
                    for group in thread("threadIdx.y", 2):
                        C = allocate(float32[64, 8], "warpgroup")
                        for i in range(64):
                            for j in range(8):
                                C[i, j] = 0.0
                        for k in pipelined(3, stages=2, transport='tma', warp_specialize=1, producer_registers=40, consumer_registers=232):
                            As = allocate(float16[2, 128, 2, 8], "shared", align=1024)
                            for r in range(128):
                                for s in range(16):
                                    As[k % 2, r, bitwise_xor(s // 8, r // 4 % 2), s % 8] = if_then_else(peer * 128 + r < 250 and k * 16 + s < 40, A[peer * 128 + r, k * 16 + s], 0.0)
                            Bs = allocate(float16[2, 8, 2, 8], "shared", align=1024)
                            for t in range(8):
                                for u in range(16):
                                    Bs[k % 2, t, bitwise_xor(u // 8, t // 4 % 2), u % 8] = if_then_else(k * 16 + u < 40, B[(walk * 2 + block) * 8 + t, k * 16 + u], 0.0)
                            for y in range(64, wgmma='m64n8k16_f16'):
                                for x in range(8):
                                    for z in range(16):
                                        C[y, x] = C[y, x] + float32(As[k % 2, group * 64 + y, bitwise_xor(z // 8, y // 4 % 2), z % 8]) * float32(Bs[k % 2, x, bitwise_xor(z // 8, x // 4 % 2), z % 8])
                        for v in range(64):
                            if peer * 128 + group * 64 + v < 250:
                                for w in range(8):
                                    D[peer * 128 + group * 64 + v, (walk * 2 + block) * 8 + w] = C[v, w]
"""  # noqa: E501


def operands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give both operands and their product, which is exact: sums of small integers."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype("float16") for shape in ((M, K), (N, K)))
    return a, b, a.astype("float32") @ b.astype("float32").T


def test_the_nest_run_serially_is_the_product() -> None:
    a, b, product = operands()
    np.testing.assert_array_equal(interpreted(parse_function(NEST), a, b), product)


def test_its_kernel_computes_the_product_in_all_orders_and_modes() -> None:
    a, b, product = operands()
    np.testing.assert_array_equal(emulated(parse_function(NEST), a, b, target=HOPPER), product)
