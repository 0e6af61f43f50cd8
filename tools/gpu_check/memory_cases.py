"""Tests of accesses, conversions, threads, shuffles, barriers and asynchronous copies."""

from __future__ import annotations

import numpy as np

from .case import Case

_BYTES = 128 * 16
VECTORS = (  # element, count
    ("float", 4), ("double", 2), ("tw_f16", 8), ("signed char", 16), ("float", 2), ("tw_bf16", 4), ("tw_bf16", 2),
    ("signed char", 4), ("signed char", 2),
)  # fmt: skip
_SIZES = {"float": 4, "double": 8, "tw_f16": 2, "tw_bf16": 2, "signed char": 1}


def memory_cases(rng: np.random.Generator) -> list[Case]:
    """Give all cases of this file."""
    wide = [_vector(rng, element, count) for element, count in VECTORS]
    return [*wide, *_conversions(rng), *_threads(), *_shuffles(rng), *_barriers(rng), *_copies(rng)]


def _bytes(rng: np.random.Generator, size: int = _BYTES) -> np.ndarray:
    return rng.integers(0, 256, size).astype(np.uint8)


def _vector(rng: np.random.Generator, element: str, count: int) -> Case:
    """Move vectors through shared memory, each to another thread."""
    size = _SIZES[element] * count
    x = _bytes(rng, 128 * size)
    name = f"vector_{element.replace('tw_', '').replace(' ', '_')}_{count}"
    text = (
        f"TW_KERNEL(128, 0) {name}(unsigned char* y, const unsigned char* x) {{\n"
        f"    typedef tw_vec<{element}, {count}> V;\n    V* s = (V*)tw_shared();\n    const int t = tw_thread_x();\n"
        "    tw_store(s + t, tw_load_const((const V*)x + t));\n    tw_barrier();\n"
        "    tw_store((V*)y + t, tw_load(s + 127 - t));\n}\n"
    )
    right = x.reshape(128, size)[::-1].reshape(-1)
    return Case(text, {"y": np.empty_like(x), "x": x}, {"y": right}, shared_bytes=128 * size)


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """Give the bits of the nearest bfloat16 of finite float32 values, ties to even."""
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def tf32(x: np.ndarray) -> np.ndarray:
    """Give the nearest tf32 of finite float32 values, ties away from zero."""
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def _conversions(rng: np.random.Generator) -> list[Case]:
    x = rng.uniform(-1000, 1000, 128).astype(np.float32)
    x[:4] = 1 + 2.0**-11, 1 + 2.0**-8, 65504, 2.0**-24  # halfway cases, the largest and the least of float16
    halves, brains = x.astype(np.float16), bfloat16_bits(x)
    head = "    const int t = tw_thread_x();\n"
    return [
        Case(
            "TW_KERNEL(128, 0) to_halves(unsigned* n, tw_f16* h, unsigned char* b, const float* x) {\n" + head +
            "    const float v = tw_load(x + t);\n    tw_store(h + t, tw_to_f16(v));\n"
            "    tw_store((tw_bf16*)b + t, tw_to_bf16(v));\n    tw_store(n + t, tw_to_tf32(v));\n}\n",
            {"n": np.empty(128, np.uint32), "h": np.empty(128, np.float16), "b": np.empty(256, np.uint8), "x": x},
            {"n": tf32(x).view(np.uint32), "h": halves, "b": brains.view(np.uint8)},
        ),
        Case(
            "TW_KERNEL(128, 0) from_halves(float* y, float* z, const tw_f16* h, const unsigned char* b) {\n" + head +
            "    tw_store(y + t, tw_f32(tw_load(h + t)));\n"
            "    tw_store(z + t, tw_f32(tw_load((const tw_bf16*)b + t)));\n}\n",
            {"y": np.empty(128, np.float32), "z": np.empty(128, np.float32), "h": halves, "b": brains.view(np.uint8)},
            {"y": halves.astype(np.float32), "z": (brains.astype(np.uint32) << 16).view(np.float32)},
        ),
        Case(
            "TW_KERNEL(128, 0) words(float* y, unsigned* n, const tw_f16* h, const int* i) {\n" + head +
            "    tw_store(y + t, tw_reinterpret<float>(tw_load(i + t)));\n"
            "    tw_store(n + t, t < 64 ? tw_load_word(h + 2 * t) : 7u);\n}\n",
            {"y": np.empty(128, np.float32), "n": np.empty(128, np.uint32), "h": halves, "i": x.view(np.int32)},
            {"y": x, "n": np.concatenate([halves.view(np.uint32), np.full(64, 7, np.uint32)])},
        ),
        Case(
            "TW_KERNEL(128, 0) loops(float* y, const float* x) {\n" + head +
            "    float sum = 0.0f;\n"
            "    TW_NO_UNROLL for (int k = 0; k < 5; ++k) sum += tw_load_const(x + (t + k) % 128);\n"
            "    TW_UNROLL for (int k = 0; k < 3; ++k) sum += tw_load(x + t);\n    tw_store(y + t, sum);\n}\n",
            {"y": np.empty(128, np.float32), "x": np.round(x[:128]) % 64},
            {"y": sum(np.roll(np.round(x) % 64, -k) for k in range(5)) + 3 * (np.round(x) % 64)},
        ),
    ]  # fmt: skip


def _threads() -> list[Case]:
    text = (
        "TW_KERNEL(32, 0) indices(int* y) {\n    const int b = tw_block_x() + 2 * (tw_block_y() + 3 * tw_block_z());\n"
        "    const int g = tw_grid_x() + 10 * tw_grid_y() + 100 * tw_grid_z();\n"
        "    tw_store(y + b * 32 + tw_thread_x(), 1000 * b + g + tw_thread_y() + tw_thread_z());\n}\n"
    )
    right = np.repeat(1000 * np.arange(2 * 3 * 2) + 232, 32).astype(np.int32)
    return [Case(text, {"y": np.empty(384, np.int32)}, {"y": right}, grid=(2, 3, 2))]


def _shuffles(rng: np.random.Generator) -> list[Case]:
    lanes = np.arange(32)
    sources = {
        "xor": ("5", lanes ^ 5),
        "down": ("3", np.where(lanes + 3 < 32, lanes + 3, lanes)),
        "": ("7", 0 * lanes + 7),
    }
    types = {"float": np.float32, "double": np.float64, "int": np.int32, "tw_f16": np.float16, "signed char": np.int8}
    cases = []
    for kind, (argument, source) in sources.items():
        for c_type, dtype in types.items():
            x = rng.uniform(-100, 100, 32).astype(dtype)
            call, name = f"tw_shuffle_{kind}" if kind else "tw_shuffle", c_type.replace("tw_", "").replace(" ", "_")
            text = (
                f"TW_KERNEL(32, 0) shuffle_{kind or 'lane'}_{name}({c_type}* y, const {c_type}* x) {{\n"
                f"    const int t = tw_thread_x();\n    tw_store(y + t, {call}(tw_load(x + t), {argument}));\n}}\n"
            )
            cases.append(Case(text, {"y": np.empty(32, dtype), "x": x}, {"y": x[source]}))
    return cases


def _barriers(rng: np.random.Generator) -> list[Case]:
    x = rng.uniform(-1, 1, 128).astype(np.float32)
    within = x.reshape(4, 32)[:, ::-1].reshape(-1)
    return [
        Case(
            "TW_KERNEL(128, 0) warp_barrier(float* y, const float* x) {\n"
            "    float* s = (float*)tw_shared();\n    const int t = tw_thread_x();\n"
            "    tw_store(s + t, tw_load(x + t));\n    tw_warp_barrier();\n"
            "    tw_store(y + t, tw_load(s + (t ^ 31)));\n}\n",
            {"y": np.empty(128, np.float32), "x": x}, {"y": within}, shared_bytes=512,
        ),
        Case(
            "TW_KERNEL(128, 0) named_barriers(float* y, const float* x) {\n"
            "    float* s = (float*)tw_shared();\n    const int t = tw_thread_x();\n"
            "    if (t < 64) {\n        tw_store(s + t, tw_load(x + t));\n        tw_barrier_named_arrive(1, 128);\n"
            "    } else {\n        tw_barrier_named(1, 128);\n"
            "        tw_store(y + t - 64, tw_load(s + 127 - t));\n    }\n}\n",
            {"y": np.empty(64, np.float32), "x": x}, {"y": x[63::-1]}, shared_bytes=512,
        ),
    ]  # fmt: skip


def _copies(rng: np.random.Generator) -> list[Case]:
    """Copy without registers, whole pieces and cut ones, whose rest is zero."""
    cases = []
    for size in (4, 8, 16):
        x = _bytes(rng, 128 * size)
        valid = (np.arange(128) * 5 % (size + 1)).astype(np.int32)
        right = np.where(np.arange(size) < valid[:, None], x.reshape(128, size), 0).astype(np.uint8)
        for name, argument, expected in (("whole", str(size), x), ("cut", "tw_load(n + t)", right.reshape(-1))):
            text = (
                f"TW_KERNEL(128, 0) cp_async_{size}_{name}(unsigned char* y, const unsigned char* x, const int* n) {{\n"
                f"    unsigned char* s = tw_shared();\n    const int t = tw_thread_x();\n"
                f"    tw_cp_async<{size}>(s + {size} * t, x + {size} * t, {argument});\n    tw_cp_async_commit();\n"
                f"    tw_cp_async_commit();\n    tw_cp_async_wait<1>();\n    tw_barrier();\n"
                f"    const int other = {size} * (127 - t);\n"
                f"    for (int k = 0; k < {size}; ++k) tw_store(y + other + k, tw_load(s + other + k));\n}}\n"
            )
            arrays = {"y": np.empty_like(x), "x": x, "n": valid}
            cases.append(Case(text, arrays, {"y": expected}, shared_bytes=128 * size))
    return cases
