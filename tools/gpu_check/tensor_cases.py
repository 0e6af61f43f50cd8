"""Tests of fragments: ldmatrix and stmatrix by their layouts, products of tensor cores by their values.

Source: PTX ISA 9.0, "Warp Level Matrix Load Instruction" and "Matrix Fragments for mma.m16n8k16" and the others.
"""

from __future__ import annotations

import numpy as np

from .case import Case
from .memory_cases import bfloat16_bits, tf32

_HEAD = "    const int t = tw_thread_x(), g = t / 4, q = t % 4;\n"


def tensor_cases(rng: np.random.Generator) -> list[Case]:
    """Give all cases of this file."""
    loads = [_ldmatrix(rng, count, trans) for count in (2, 4) for trans in (False, True)]
    return [*loads, _stmatrix(rng), _mma16(rng, "f16"), _mma16(rng, "bf16"), _tf32(rng), _s8(rng), _loaded_mma(rng)]


def _lane_words(matrices: np.ndarray, trans: bool) -> np.ndarray:
    """Give what each lane holds of 8x8 matrices (count, 8, 8) uint16: (32, count) words."""
    if trans:
        matrices = matrices.transpose(0, 2, 1)
    pairs = np.ascontiguousarray(matrices).reshape(len(matrices), 8, 4, 2).view(np.uint32)[..., 0]
    return np.ascontiguousarray(pairs.reshape(len(matrices), 32).T)


def _ldmatrix(rng: np.random.Generator, count: int, trans: bool) -> Case:
    x = rng.integers(0, 1 << 16, (count, 8, 8)).astype(np.uint16)
    name = f"ldmatrix_x{count}{'_trans' if trans else ''}"
    text = (
        f"TW_KERNEL(32, 0) {name}(unsigned* y, const unsigned char* x) {{\n{_HEAD}"
        "    unsigned char* s = tw_shared();\n"
        f"    for (int k = t; k < {count * 128}; k += 32) tw_store(s + k, tw_load(x + k));\n    tw_barrier();\n"
        f"    unsigned r[{count}];\n    tw_{name}(r, s + 16 * (t % {8 * count}));\n"
        f"    TW_UNROLL for (int k = 0; k < {count}; ++k) tw_store(y + {count} * t + k, r[k]);\n}}\n"
    )
    arrays = {"y": np.empty((32, count), np.uint32), "x": x.view(np.uint8)}
    return Case(text, arrays, {"y": _lane_words(x, trans)}, shared_bytes=count * 128)


def _stmatrix(rng: np.random.Generator) -> Case:
    x = rng.integers(0, 1 << 16, (4, 8, 8)).astype(np.uint16)
    text = (
        f"TW_KERNEL(32, 0) stmatrix_x4(unsigned char* y, const unsigned* x) {{\n{_HEAD}"
        "    unsigned char* s = tw_shared();\n    unsigned r[4];\n"
        "    TW_UNROLL for (int k = 0; k < 4; ++k) r[k] = tw_load(x + 4 * t + k);\n"
        "    tw_stmatrix_x4(s + 16 * t, r);\n    tw_barrier();\n"
        "    for (int k = t; k < 512; k += 32) tw_store(y + k, tw_load(s + k));\n}\n"
    )
    arrays = {"y": np.empty(512, np.uint8), "x": _lane_words(x, False)}
    return Case(text, arrays, {"y": x.reshape(-1).view(np.uint8)}, shared_bytes=512, needs="sm_90a")


def _product(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.astype(np.float64) + c).astype(np.float32)


_STORE = "    TW_UNROLL for (int k = 0; k < 4; ++k) tw_store(d + (g + k / 2 * 8) * 8 + 2 * q + k % 2, r[k]);\n}\n"
_START = "    TW_UNROLL for (int k = 0; k < 4; ++k) r[k] = tw_load(c + (g + k / 2 * 8) * 8 + 2 * q + k % 2);\n"


def _mma16(rng: np.random.Generator, kind: str) -> Case:
    """Multiply 16x16 by 16x8, fragments read from global memory as the layout says."""
    a, b = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((16, 16), (8, 16)))
    c = rng.uniform(-1, 1, (16, 8)).astype(np.float32)
    if kind == "f16":
        raw = a, b = a.astype(np.float16), b.astype(np.float16)
    else:
        raw = bfloat16_bits(a.reshape(-1)), bfloat16_bits(b.reshape(-1))
        a, b = ((x.astype(np.uint32) << 16).view(np.float32).reshape(-1, 16) for x in raw)
    text = (
        f"TW_KERNEL(32, 0) mma_m16n8k16_{kind}(float* d, const unsigned char* a, const unsigned char* b, "
        f"const float* c) {{\n{_HEAD}    float r[4];\n{_START}"
        "    const unsigned *p = (const unsigned*)a + g * 8 + q, *w = (const unsigned*)b + g * 8 + q;\n"
        "    const unsigned x[4] = {tw_load(p), tw_load(p + 64), tw_load(p + 4), tw_load(p + 68)};\n"
        "    const unsigned y[2] = {tw_load(w), tw_load(w + 4)};\n"
        f"    tw_mma_m16n8k16_{kind}(r, x, y);\n{_STORE}"
    )
    bytes_a, bytes_b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in raw)
    arrays = {"d": np.empty((16, 8), np.float32), "a": bytes_a, "b": bytes_b, "c": c}
    return Case(text, arrays, {"d": _product(a, b.T, c)}, 1e-4)


def _tf32(rng: np.random.Generator) -> Case:
    a, b = (tf32(rng.uniform(0.1, 1, shape).astype(np.float32)) for shape in ((16, 8), (8, 8)))
    c = rng.uniform(0, 1, (16, 8)).astype(np.float32)
    text = (
        f"TW_KERNEL(32, 0) mma_m16n8k8_tf32(float* d, const float* a, const float* b, const float* c) {{\n{_HEAD}"
        f"    float r[4];\n{_START}    const float *p = a + g * 8 + q, *w = b + g * 8 + q;\n"
        "    const unsigned x[4] = {tw_to_tf32(tw_load(p)), tw_to_tf32(tw_load(p + 64)), tw_to_tf32(tw_load(p + 4)), "
        "tw_to_tf32(tw_load(p + 68))};\n"
        "    const unsigned y[2] = {tw_to_tf32(tw_load(w)), tw_to_tf32(tw_load(w + 4))};\n"
        f"    tw_mma_m16n8k8_tf32(r, x, y);\n{_STORE}"
    )
    arrays = {"d": np.empty((16, 8), np.float32), "a": a, "b": b, "c": c}
    return Case(text, arrays, {"d": _product(a, b.T, c)}, 1e-5)


def _s8(rng: np.random.Generator) -> Case:
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((16, 32), (8, 32)))
    c = rng.integers(-1000, 1000, (16, 8)).astype(np.int32)
    text = (
        "TW_KERNEL(32, 0) mma_m16n8k32_s8(int* d, const signed char* a, const signed char* b, const int* c) {\n"
        f"{_HEAD}    int r[4];\n{_START}"
        "    const unsigned *p = (const unsigned*)a + g * 8 + q, *w = (const unsigned*)b + g * 8 + q;\n"
        "    const unsigned x[4] = {tw_load(p), tw_load(p + 64), tw_load(p + 4), tw_load(p + 68)};\n"
        "    const unsigned y[2] = {tw_load(w), tw_load(w + 4)};\n"
        f"    tw_mma_m16n8k32_s8(r, x, y);\n{_STORE}"
    )
    right = a.astype(np.int32) @ b.astype(np.int32).T + c
    return Case(text, {"d": np.empty((16, 8), np.int32), "a": a, "b": b, "c": c}, {"d": right})


def _loaded_mma(rng: np.random.Generator) -> Case:
    """Multiply with fragments that ldmatrix gives: A (16, 16) as it lies, B (16, 8) transposed."""
    a, b = (rng.uniform(0.1, 1, shape).astype(np.float16) for shape in ((16, 16), (16, 8)))
    text = (
        f"TW_KERNEL(32, 0) ldmatrix_mma(float* d, const tw_f16* a, const tw_f16* b) {{\n{_HEAD}"
        "    tw_f16* s = (tw_f16*)tw_shared();\n"
        "    for (int k = t; k < 256; k += 32) tw_store(s + k, tw_load(a + k));\n"
        "    for (int k = t; k < 128; k += 32) tw_store(s + 256 + k, tw_load(b + k));\n    tw_barrier();\n"
        "    unsigned x[4], y[2];\n    tw_ldmatrix_x4(x, s + t % 16 * 16 + t / 16 * 8);\n"
        "    tw_ldmatrix_x2_trans(y, s + 256 + t % 16 * 8);\n"
        f"    float r[4] = {{0.0f, 0.0f, 0.0f, 0.0f}};\n    tw_mma_m16n8k16_f16(r, x, y);\n{_STORE}"
    )
    arrays = {"d": np.empty((16, 8), np.float32), "a": a, "b": b}
    return Case(text, arrays, {"d": _product(a, b, np.zeros((16, 8)))}, 1e-5, shared_bytes=768)
