"""Tests of the mathematical functions: values across each function's domain, and the special ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .case import Case

COUNT = 1024
SPECIAL = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.5, -0.5, 2.5)
RTOL = {"float32": 16 * 2.0**-24, "float64": 16 * 2.0**-53}  # 8 units in the last place, CUDA's largest being 2 to 8

Function = Callable[..., np.ndarray]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _round(x: np.ndarray) -> np.ndarray:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1.0, x), whole)


UNARY: dict[str, tuple[Function, float, float]] = {  # name: the function, and the interval of its arguments
    "exp": (np.exp, -80, 80), "exp2": (np.exp2, -120, 120), "exp10": (lambda x: np.power(10.0, x), -30, 30),
    "log": (np.log, 0, 1e4), "log2": (np.log2, 0, 1e4), "log10": (np.log10, 0, 1e4), "log1p": (np.log1p, -0.9, 1e3),
    "sqrt": (np.sqrt, 0, 1e6), "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-3, 1e6),
    "tanh": (np.tanh, -6, 6), "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -30, 30), "erf": (_erf, -4, 4),
    "sin": (np.sin, 0.1, 3), "cos": (np.cos, -1.5, 1.5), "tan": (np.tan, -1.5, 1.5),
    "asin": (np.arcsin, -1, 1), "acos": (np.arccos, -1, 0.9), "atan": (np.arctan, -50, 50),
    "sinh": (np.sinh, -10, 10), "cosh": (np.cosh, -10, 10),
    "asinh": (np.arcsinh, -50, 50), "acosh": (np.arccosh, 1.1, 50), "atanh": (np.arctanh, -0.99, 0.99),
    "floor": (np.floor, -1e3, 1e3), "ceil": (np.ceil, -1e3, 1e3), "trunc": (np.trunc, -1e3, 1e3),
    "round": (_round, -1e3, 1e3), "nearbyint": (np.rint, -1e3, 1e3), "abs": (np.abs, -1e3, 1e3),
}  # fmt: skip
BINARY: dict[str, tuple[Function, float, float]] = {
    "pow": (np.power, 0.1, 8), "atan2": (np.arctan2, -9, 9), "fmod": (np.fmod, -100, 100), "hypot": (np.hypot, -9, 9),
    "copysign": (np.copysign, -9, 9),
}  # fmt: skip
C_TYPES = {"float32": "float", "float64": "double"}


def maths_cases(rng: np.random.Generator) -> list[Case]:
    """Give a case for each function and type."""
    cases = []
    for dtype in C_TYPES:
        for name, (function, low, high) in UNARY.items():
            x = _arguments(rng, low, high, dtype)
            cases.append(_case(name, dtype, [x], _exact(function, [x], dtype)))
        for name, (function, low, high) in BINARY.items():
            pair = [_arguments(rng, low, high, dtype) for _ in range(2)]
            pair[1][: len(SPECIAL)] = 2.0
            cases.append(_case(name, dtype, pair, _exact(function, pair, dtype)))
        x, y = (rng.uniform(-9, 9, COUNT).astype(dtype) for _ in range(2))
        cases.append(_case("nextafter", dtype, [x, y], np.nextafter(x, y), rtol=0.0))
        a, b, c = (rng.uniform(1, 9, COUNT).astype(dtype) for _ in range(3))
        wide = np.float64 if dtype == "float32" else np.longdouble
        fused = (a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(dtype)
        cases.append(_case("fma", dtype, [a, b, c], fused, rtol=2.0**-23 if dtype == "float32" else 2.0**-52))
        cases.append(_ldexp(rng, dtype))
    return [*cases, *_classes(rng), *_integers(rng)]


def _arguments(rng: np.random.Generator, low: float, high: float, dtype: str) -> np.ndarray:
    x = rng.uniform(low, high, COUNT)
    x[: len(SPECIAL)] = SPECIAL
    return x.astype(dtype)


def _exact(function: Function, arguments: Sequence[np.ndarray], dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(function(*(x.astype(np.float64) for x in arguments))).astype(dtype)


def _case(name: str, dtype: str, arguments: Sequence[np.ndarray], right: np.ndarray, rtol: float | None = None) -> Case:
    c_type, letters = C_TYPES[dtype], "abc"[: len(arguments)]
    params = ", ".join([f"{c_type}* y", *(f"const {c_type}* {letter}" for letter in letters)])
    values = ", ".join(f"tw_load({letter} + t)" for letter in letters)
    text = (
        f"TW_KERNEL(128, 0) {name}_{dtype}({params}) {{\n    const int t = tw_block_x() * 128 + tw_thread_x();\n"
        f"    tw_store(y + t, tw_{name}({values}));\n}}\n"
    )
    arrays = {"y": np.empty(COUNT, dtype)} | dict(zip(letters, arguments, strict=True))
    return Case(text, arrays, {"y": right}, RTOL[dtype] if rtol is None else rtol, (COUNT // 128, 1, 1))


def _ldexp(rng: np.random.Generator, dtype: str) -> Case:
    c_type = C_TYPES[dtype]
    x, n = rng.uniform(-9, 9, 128).astype(dtype), rng.integers(-60, 60, 128).astype(np.int32)
    text = (
        f"TW_KERNEL(128, 0) ldexp_{dtype}({c_type}* y, const {c_type}* x, const int* n) {{\n"
        "    const int t = tw_thread_x();\n    tw_store(y + t, tw_ldexp(tw_load(x + t), tw_load(n + t)));\n}\n"
    )
    return Case(text, {"y": np.empty(128, dtype), "x": x, "n": n}, {"y": np.ldexp(x, n)})


def _classes(rng: np.random.Generator) -> list[Case]:
    cases = []
    for dtype, c_type in C_TYPES.items():
        x = _arguments(rng, -9, 9, dtype)[:128]
        text = (
            f"TW_KERNEL(128, 0) classes_{dtype}(int* y, const {c_type}* x) {{\n    const int t = tw_thread_x();\n"
            f"    const {c_type} v = tw_load(x + t);\n"
            "    tw_store(y + t, (tw_isnan(v) ? 1 : 0) + (tw_isinf(v) ? 2 : 0) + (tw_isfinite(v) ? 4 : 0));\n}\n"
        )
        right = (np.isnan(x) + 2 * np.isinf(x) + 4 * np.isfinite(x)).astype(np.int32)
        cases.append(Case(text, {"y": np.empty(128, np.int32), "x": x}, {"y": right}))
    return cases


def _integers(rng: np.random.Generator) -> list[Case]:
    a = rng.integers(-1000, 1000, 128).astype(np.int32)
    b = rng.integers(1, 50, 128).astype(np.int32) * rng.choice([-1, 1], 128).astype(np.int32)
    bits = np.array([bin(int(v) & 0xFFFFFFFF).count("1") for v in a], np.int32)
    zeros = np.array([32 - int(int(v) & 0xFFFFFFFF).bit_length() for v in a], np.int32)
    bytes_a, bytes_b = a.view(np.int8).reshape(-1, 4).astype(np.int32), b.view(np.int8).reshape(-1, 4).astype(np.int32)
    signed = (bytes_a * bytes_b).sum(1, dtype=np.int32) + 3
    unsigned = (a.view(np.uint8).reshape(-1, 4).astype(np.int32) * bytes_b).sum(1, dtype=np.int32) + 3
    results = {
        "popcount": ("tw_popcount(i)", bits), "clz": ("tw_clz(i)", zeros), "iabs": ("tw_abs(i)", np.abs(a)),
        "floordiv": ("tw_floordiv(i, j)", np.floor_divide(a, b)), "floormod": ("tw_floormod(i, j)", np.mod(a, b)),
        "dp4a_s8s8": ("tw_dp4a_s8s8(i, j, 3)", signed), "dp4a_u8s8": ("tw_dp4a_u8s8(i, j, 3)", unsigned),
    }  # fmt: skip
    return [
        Case(
            f"TW_KERNEL(128, 0) {name}_int32(int* y, const int* a, const int* b) {{\n    const int t = tw_thread_x();\n"
            f"    const int i = tw_load(a + t), j = tw_load(b + t);\n    tw_store(y + t, {text} + 0 * j);\n}}\n",
            {"y": np.empty(128, np.int32), "a": a, "b": b},
            {"y": right.astype(np.int32)},
        )
        for name, (text, right) in results.items()
    ]
