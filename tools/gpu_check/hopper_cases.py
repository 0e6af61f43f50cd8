"""Tests of what sm_90a adds: tensor copies and their barriers, clusters, products of warpgroups, register trades.

Source: PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix Instructions", "Tensor Map", "mbarrier".
"""

from __future__ import annotations

import numpy as np

from .case import Case, Map

_BARRIER = """\
    unsigned char* s = tw_shared();
    tw_mbar* full = (tw_mbar*)(s + {offset});
    const int t = tw_thread_x();
    if (t == 0) {{
        tw_mbar_init(full, 1);
        tw_mbar_fence_init();
    }}
    tw_barrier();
"""
_KINDS = {"f16": ("tw_f16", np.float16), "bf16": ("tw_bf16", np.uint16)}


def hopper_cases(rng: np.random.Generator) -> list[Case]:
    """Give all cases of this file."""
    copies = [_load_2d(rng, swizzle) for swizzle in (0, 32, 64, 128)]
    products = [_wgmma(rng, kind, width) for kind in _KINDS for width in range(8, 257, 8)]
    swizzles = [_wgmma(rng, "f16", 64, swizzle) for swizzle in (32, 64)]
    transposed = [_wgmma_transposed(rng, a, b) for a in (0, 1) for b in (0, 1)]
    others = [_load_3d(rng), _load_4d(rng), _store_2d(rng), _multicast(rng), _cluster(), _arrivals(), _registers()]
    return [*copies, *others, *products, *swizzles, *transposed]


# -- tensor copies ----------------------------------------------------------------------------------------------------


def _swizzled(tile: np.ndarray, swizzle: int) -> np.ndarray:
    """Give rows of `swizzle` bytes as they lie in shared memory: pieces of 16 bytes permuted by bits 7 to 9."""
    flat = np.ascontiguousarray(tile).reshape(-1).view(np.uint8).reshape(-1, 16)
    if not swizzle:
        return flat.reshape(-1)
    piece = np.arange(len(flat))
    mask = swizzle // 16 - 1
    target = piece ^ (piece >> 3 & mask)
    out = np.empty_like(flat)
    out[target] = flat
    return out.reshape(-1)


def _copied_out(size: int) -> str:
    return f"    for (int k = t; k < {size}; k += 128) tw_store(y + k, tw_load(s + k));\n}}\n"


def _load(name: str, call: str, size: int) -> str:
    return (
        f"TW_KERNEL(128, 0) {name}(const TW_GRID_CONSTANT tw_tensor_map map_x, unsigned char* y) {{\n"
        + _BARRIER.format(offset=size)
        + f"    if (t == 0) {{\n        tw_mbar_expect_tx(full, {size});\n        {call};\n    }}\n"
        + "    tw_mbar_wait(full, 0);\n"
        + _copied_out(size)
    )


def _load_2d(rng: np.random.Generator, swizzle: int) -> Case:
    """Load a box that reaches over two edges: what is outside becomes zero."""
    columns = swizzle // 2 or 24
    x = rng.uniform(-1, 1, (40, 64)).astype(np.float16)
    box = np.zeros((32, columns), np.float16)
    inside = x[16:48, 48 : 48 + columns]
    box[: inside.shape[0], : inside.shape[1]] = inside
    text = _load(f"tma_load_2d_{swizzle}", "tw_tma_load_2d(s, &map_x, full, 48, 16)", box.nbytes)
    arrays = {"y": np.empty(box.nbytes, np.uint8), "x": x}
    right = {"y": _swizzled(box, swizzle)}
    maps = [Map("x", (columns, 32), swizzle)]
    return Case(text, arrays, right, shared_bytes=box.nbytes + 8, maps=maps, needs="sm_90a")


def _load_3d(rng: np.random.Generator) -> Case:
    x = rng.uniform(-1, 1, (5, 7, 16)).astype(np.float32)
    box = np.zeros((2, 4, 8), np.float32)
    box[:, :3, :] = x[2:4, 4:7, 8:16]
    text = _load("tma_load_3d", "tw_tma_load_3d(s, &map_x, full, 8, 4, 2)", box.nbytes)
    arrays = {"y": np.empty(box.nbytes, np.uint8), "x": x}
    right = {"y": box.reshape(-1).view(np.uint8)}
    return Case(text, arrays, right, shared_bytes=box.nbytes + 8, maps=[Map("x", (8, 4, 2))], needs="sm_90a")


def _load_4d(rng: np.random.Generator) -> Case:
    """Load a window of an image that begins above and left of it, as a convolution with padding does."""
    x = rng.uniform(-1, 1, (2, 6, 6, 8)).astype(np.float16)
    box = np.zeros((1, 4, 4, 8), np.float16)
    box[0, 1:, 1:] = x[1, :3, :3]
    text = _load("tma_load_4d", "tw_tma_load_4d(s, &map_x, full, 0, -1, -1, 1)", box.nbytes)
    arrays = {"y": np.empty(box.nbytes, np.uint8), "x": x}
    right = {"y": box.reshape(-1).view(np.uint8)}
    return Case(text, arrays, right, shared_bytes=box.nbytes + 8, maps=[Map("x", (8, 4, 4, 1))], needs="sm_90a")


def _store_2d(rng: np.random.Generator) -> Case:
    """Store a box that reaches over an edge: nothing is written outside."""
    x = rng.uniform(-1, 1, (16, 32)).astype(np.float32)
    text = (
        "TW_KERNEL(128, 0) tma_store_2d(const TW_GRID_CONSTANT tw_tensor_map map_y, float* y, const float* x) {\n"
        "    float* s = (float*)tw_shared();\n    const int t = tw_thread_x();\n"
        "    for (int k = t; k < 512; k += 128) tw_store(s + k, tw_load(x + k));\n"
        "    tw_fence_async();\n    tw_barrier();\n    if (t == 0) {\n        tw_tma_store_2d(&map_y, s, 0, 0);\n"
        "        tw_tma_store_commit();\n        tw_tma_store_wait<0>();\n    }\n}\n"
    )
    arrays = {"y": np.empty((12, 32), np.float32), "x": x}
    return Case(text, arrays, {"y": x[:12]}, shared_bytes=2048, maps=[Map("y", (32, 16))], needs="sm_90a")


# -- clusters -----------------------------------------------------------------------------------------------------


def _multicast(rng: np.random.Generator) -> Case:
    """Two blocks load half a tile each, for both."""
    x = rng.uniform(-1, 1, (32, 32)).astype(np.float32)
    text = (
        "TW_KERNEL(128, 0) TW_CLUSTER(2, 1, 1) tma_multicast(const TW_GRID_CONSTANT tw_tensor_map map_x, float* y) {\n"
        + _BARRIER.format(offset=4096)
        + "    const int rank = tw_cluster_rank();\n    tw_cluster_barrier();\n    if (t == 0) {\n"
        "        tw_mbar_expect_tx(full, 4096);\n"
        "        tw_tma_load_2d_multicast(s + 2048 * rank, &map_x, full, 0, 16 * rank, 3);\n    }\n"
        "    tw_mbar_wait(full, 0);\n"
        "    for (int k = t; k < 1024; k += 128) tw_store(y + 1024 * rank + k, tw_load((float*)s + k));\n"
        "    tw_cluster_barrier();\n}\n"
    )
    arrays = {"y": np.empty((2, 32, 32), np.float32), "x": x}
    maps = [Map("x", (32, 16))]
    return Case(text, arrays, {"y": np.stack([x, x])}, grid=(2, 1, 1), shared_bytes=4104, maps=maps, needs="sm_90a")


def _cluster() -> Case:
    """Let each block wait for the arrivals of all threads of the other one."""
    text = (
        "TW_KERNEL(32, 0) TW_CLUSTER(2, 1, 1) cluster_arrivals(int* y) {\n"
        "    tw_mbar* all = (tw_mbar*)tw_shared();\n    const int t = tw_thread_x(), rank = tw_cluster_rank();\n"
        "    if (t == 0) {\n        tw_mbar_init(all, 32);\n        tw_mbar_fence_init();\n    }\n"
        "    tw_cluster_barrier();\n    tw_mbar_arrive_cluster(all, rank ^ 1);\n    tw_mbar_wait(all, 0);\n"
        "    tw_store(y + tw_block_x() * 32 + t, rank * 100 + t);\n    tw_cluster_barrier();\n}\n"
    )
    right = np.concatenate([100 * (block % 2) + np.arange(32) for block in range(4)]).astype(np.int32)
    return Case(text, {"y": np.empty(128, np.int32)}, {"y": right}, grid=(4, 1, 1), shared_bytes=8, needs="sm_90a")


def _arrivals() -> Case:
    """Hand a value from one warp to the others and back, three times: phases alternate."""
    text = (
        "TW_KERNEL(64, 0) mbar_phases(int* y) {\n    int* s = (int*)(tw_shared() + 16);\n"
        "    tw_mbar* full = (tw_mbar*)tw_shared();\n    tw_mbar* empty = full + 1;\n    const int t = tw_thread_x();\n"
        "    if (t == 0) {\n        tw_mbar_init(full, 32);\n        tw_mbar_init(empty, 32);\n"
        "        tw_mbar_fence_init();\n    }\n    tw_barrier();\n    for (int k = 0; k < 3; ++k) {\n"
        "        if (t < 32) {\n            tw_mbar_wait(empty, (k & 1) ^ 1);\n"
        "            tw_store(s + t, 100 * k + t);\n"
        "            tw_mbar_arrive(full);\n        } else {\n            tw_mbar_wait(full, k & 1);\n"
        "            tw_store(y + 32 * k + t - 32, tw_load(s + 63 - t));\n"
        "            tw_mbar_arrive(empty);\n        }\n"
        "    }\n}\n"
    )
    right = np.concatenate([100 * k + np.arange(31, -1, -1) for k in range(3)]).astype(np.int32)
    return Case(text, {"y": np.empty(96, np.int32)}, {"y": right}, shared_bytes=16 + 128, needs="sm_90a")


def _registers() -> Case:
    text = (
        "TW_KERNEL(384, 1) registers(int* y) {\n    const int t = tw_thread_x(), group = tw_shuffle(t / 128, 0);\n"
        "    if (group == 0) tw_setmaxnreg_dec<40>();\n    else tw_setmaxnreg_inc<232>();\n"
        "    tw_store(y + t, t + group);\n}\n"
    )
    right = (np.arange(384) + np.arange(384) // 128).astype(np.int32)
    return Case(text, {"y": np.empty(384, np.int32)}, {"y": right}, needs="sm_90a")


# -- products of warpgroups -----------------------------------------------------------------------------------------

_RESULTS = """\
    float* mine = c + (t / 32 * 16 + t % 32 / 4) * {n} + t % 4 * 2;
    TW_UNROLL for (int j = 0; j < {n} / 8; ++j)
        TW_UNROLL for (int e = 0; e < 4; ++e) tw_store(mine + (e / 2) * 8 * {n} + j * 8 + e % 2, d[4 * j + e]);
}}
"""


def _values(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Give positive values as they are stored, and as they count."""
    x = rng.uniform(0.1, 1, shape).astype(np.float32)
    if kind == "f16":
        return x.astype(np.float16), x.astype(np.float16).astype(np.float64)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _head(name: str, c_type: str, offset: int) -> str:
    return (
        f"TW_KERNEL(128, 1) {name}(const TW_GRID_CONSTANT tw_tensor_map map_a, const TW_GRID_CONSTANT tw_tensor_map "
        f"map_b, float* c, const {c_type}* a, const {c_type}* b) {{\n" + _BARRIER.format(offset=offset)
    )


def _wgmma(rng: np.random.Generator, kind: str, n: int, swizzle: int = 128) -> Case:
    """Multiply A (64, k) by B (n, k) transposed, both with their k innermost, in steps of 16; a row is one span."""
    depth = swizzle // 2
    (a, exact_a), (b, exact_b) = _values(rng, kind, (64, depth)), _values(rng, kind, (n, depth))
    at_b = -(-a.nbytes // 1024) * 1024
    end = at_b + b.nbytes
    end += -end % 8
    c_type = _KINDS[kind][0]
    text = (
        _head(f"wgmma_{kind}_{n}_{swizzle}", c_type, end)
        + f"    if (t == 0) {{\n        tw_mbar_expect_tx(full, {a.nbytes + b.nbytes});\n"
        "        tw_tma_load_2d(s, &map_a, full, 0, 0);\n"
        f"        tw_tma_load_2d(s + {at_b}, &map_b, full, 0, 0);\n    }}\n"
        "    tw_mbar_wait(full, 0);\n"
        f"    const unsigned long long x = tw_wgmma_desc(s, {swizzle}, 16, {8 * swizzle});\n"
        f"    const unsigned long long w = tw_wgmma_desc(s + {at_b}, {swizzle}, 16, {8 * swizzle});\n"
        f"    float d[{n // 2}];\n    tw_wgmma_fence();\n"
        f"    TW_UNROLL for (int k = 0; k < {depth // 16}; ++k) tw_wgmma_{kind}<{n}>(d, x + 2 * k, w + 2 * k, k > 0);\n"
        "    tw_wgmma_commit();\n    tw_wgmma_wait<0>();\n" + _RESULTS.format(n=n)
    )
    return _product_case(
        text, a, b, exact_a @ exact_b.T, end, [Map("a", (depth, 64), swizzle), Map("b", (depth, n), swizzle)], kind
    )


def _wgmma_transposed(rng: np.random.Generator, trans_a: int, trans_b: int) -> Case:
    """Multiply 64 by 64 by 64; a transposed operand has its k outermost: rows of 64 elements, one for each k."""
    (a, exact_a), (b, exact_b) = _values(rng, "f16", (64, 64)), _values(rng, "f16", (64, 64))
    right = (exact_a.T if trans_a else exact_a) @ (exact_b if trans_b else exact_b.T)
    steps = [128 if trans else 2 for trans in (trans_a, trans_b)]  # 16 rows, or 32 bytes, in units of 16 bytes
    text = (
        _head(f"wgmma_transposed_{trans_a}{trans_b}", "tw_f16", 16384)
        + "    if (t == 0) {\n        tw_mbar_expect_tx(full, 16384);\n        tw_tma_load_2d(s, &map_a, full, 0, 0);\n"
        "        tw_tma_load_2d(s + 8192, &map_b, full, 0, 0);\n    }\n    tw_mbar_wait(full, 0);\n"
        "    const unsigned long long x = tw_wgmma_desc(s, 128, 8192, 1024);\n"
        "    const unsigned long long w = tw_wgmma_desc(s + 8192, 128, 8192, 1024);\n"
        "    float d[32];\n    tw_wgmma_fence();\n    TW_UNROLL for (int k = 0; k < 4; ++k)\n"
        f"        tw_wgmma_f16<64, {trans_a}, {trans_b}>(d, x + {steps[0]} * k, w + {steps[1]} * k, k > 0);\n"
        "    tw_wgmma_commit();\n    tw_wgmma_wait<0>();\n" + _RESULTS.format(n=64)
    )
    return _product_case(text, a, b, right, 16384, [Map("a", (64, 64), 128), Map("b", (64, 64), 128)], "f16")


def _product_case(
    text: str, a: np.ndarray, b: np.ndarray, right: np.ndarray, end: int, maps: list[Map], kind: str
) -> Case:
    arrays = {"c": np.empty(right.shape, np.float32), "a": a, "b": b}
    return Case(text, arrays, {"c": right.astype(np.float32)}, 1e-5, shared_bytes=end + 8, maps=maps, needs="sm_90a")
