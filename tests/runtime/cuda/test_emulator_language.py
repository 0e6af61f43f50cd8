"""Each name of the device language does on the CPU what the PTX manual says, against NumPy or plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tilewright.codegen.scalar import intrinsic, to_brain
from tilewright.ir.dtype import dtype_of
from tilewright.ir.errors import AlignmentFault, ProtocolFault, UninitialisedFault
from tilewright.runtime.cuda.emulator.tensor_map import Tiled
from tilewright.runtime.cuda.emulator.verify import verify

from .emulation import compiled, halves, run

LOAD_SHARED = """
    for (int i = tw_thread_x(); i < {words}; i += {threads})
        tw_store((unsigned*)tw_shared() + i, tw_load_const((const unsigned*)x + i));
    tw_barrier();
"""


def kernel(parameters: str, body: str, threads: int = 32) -> str:
    """Give a kernel `k` of one warp or more, whose thread is `t`."""
    return f"TW_KERNEL({threads}, 0) k({parameters}) {{\n    const int t = tw_thread_x();\n    {body}\n}}\n"


# -- numbers ------------------------------------------------------------------------------------------------------


def test_every_float16_is_widened_exactly() -> None:
    x = np.arange(65536, dtype=np.uint16).view(np.float16)
    y = np.zeros(65536, np.float32)
    body = "const int i = tw_block_x() * 256 + t; const float v = tw_f32(tw_load(x + i));"
    run(
        kernel("float* y, const tw_f16* x", f"{body} if (!tw_isnan(v)) tw_store(y + i, v);", 256),
        y,
        x,
        grid=(256, 1, 1),
    )
    np.testing.assert_array_equal(y, np.where(np.isnan(x), 0, x.astype(np.float32)))


def floats(count: int) -> np.ndarray:
    """Give floats of all exponents, halves between two float16 among them, none of them NaN."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, count, np.uint64).astype(np.uint32)
    ties = np.arange(0, 0x7BFF, 7, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (ties + np.nextafter(ties.astype(np.float16), np.float16(np.inf)).astype(np.float32)) / 2
    x = np.concatenate([bits.view(np.float32)[: count - ties.size], ties])
    return np.where(np.isnan(x), np.float32(1), x)


def converted(expression: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Give floats and the bits that an expression in `v` makes of them."""
    x = floats(16384)
    y = np.zeros(x.size, dtype)
    kind = {np.uint16: "unsigned short", np.uint32: "unsigned"}[dtype]
    names = {np.uint16: "tw_bf16", np.uint32: "unsigned"}
    body = "const int i = tw_block_x() * 256 + t; const float v = tw_load(x + i);"
    store = f"tw_store(({kind}*)y + i, ({kind})({expression}));"
    run(kernel(f"{names[dtype]}* y, const float* x", f"{body} {store}", 256), y, x, grid=(64, 1, 1))
    return x, y


def test_float16_is_rounded_to_nearest_even() -> None:
    x, y = converted("tw_to_f16(v).bits", np.uint16)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, x.astype(np.float16).view(np.uint16))


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    x, y = converted("tw_to_bf16(v).bits", np.uint16)
    with np.errstate(over="ignore"):
        expected = [int(np.float32(to_brain(v)).view(np.uint32)) >> 16 for v in x]
    np.testing.assert_array_equal(y, np.array(expected, np.uint16))


def test_tf32_is_rounded_to_nearest_with_ties_away_from_zero() -> None:
    x, y = converted("tw_to_tf32(v)", np.uint32)
    finite = np.abs(x) < 3e38
    exact = x[finite].astype(np.float64)
    step = np.exp2(np.maximum(np.frexp(exact)[1] - 11, -149 + 13))  # between neighbours with 10 bits of mantissa
    away = np.copysign(np.floor(np.abs(exact) / step + 0.5) * step, exact)
    np.testing.assert_array_equal(y[finite].view(np.float32).astype(np.float64), away)


UNARY = (
    "exp exp2 exp10 log log2 log10 log1p sqrt rsqrt tanh sigmoid erf sin cos tan asin acos atan sinh cosh asinh acosh "
    "atanh floor ceil trunc round nearbyint abs"
).split()


@pytest.mark.parametrize(("kind", "dtype"), [("float", "float32"), ("double", "float64")])
def test_functions_of_one_number_are_those_of_the_interpreter(kind: str, dtype: str) -> None:
    x = np.array([-2.5, -1.5, -1, -0.7, -0.5, -0.0, 0.3, 0.5, 1, 1.5, 2.5, 3.7, 20, np.inf, -np.inf, 1e-30], dtype)
    stores = "\n".join(f"tw_store(y + {i} * 16 + t, tw_{name}(v));" for i, name in enumerate(UNARY))
    y = np.zeros((len(UNARY), x.size), dtype)
    run(kernel(f"{kind}* y, const {kind}* x", f"const {kind} v = tw_load(x + t);\n{stores}", 16), y, x)
    with np.errstate(all="ignore"):
        for name, got in zip(UNARY, y, strict=True):
            function = intrinsic(name, (dtype_of(dtype),), dtype_of(dtype))
            expected = np.array([function(v) for v in x], dtype)
            np.testing.assert_array_max_ulp(
                got[~np.isnan(expected)], expected[~np.isnan(expected)], 4 if kind == "double" else 1
            )
            assert (np.isnan(got) == np.isnan(expected)).all(), name


BINARY = "pow atan2 fmod hypot copysign nextafter".split()


@pytest.mark.parametrize(("kind", "dtype"), [("float", "float32"), ("double", "float64")])
def test_functions_of_two_numbers_are_those_of_the_interpreter(kind: str, dtype: str) -> None:
    values = [-3.5, -1.0, 0.5, 2.0, 7.25, 1e3]
    pairs = np.array([*product(values, values)][:32], dtype)
    stores = "\n".join(f"tw_store(y + {i} * 32 + t, tw_{name}(a, b));" for i, name in enumerate(BINARY))
    y = np.zeros((len(BINARY), 32), dtype)
    loads = f"const {kind} a = tw_load(x + 2 * t), b = tw_load(x + 2 * t + 1);"
    run(kernel(f"{kind}* y, const {kind}* x", f"{loads}\n{stores}"), y, pairs)
    with np.errstate(all="ignore"):
        for name, got in zip(BINARY, y, strict=True):
            function = intrinsic(name, (dtype_of(dtype),) * 2, dtype_of(dtype))
            expected = np.array([function(a, b) for a, b in pairs], dtype)
            assert (np.isnan(got) == np.isnan(expected)).all(), name
            np.testing.assert_array_max_ulp(got[~np.isnan(expected)], expected[~np.isnan(expected)], 2)


def test_integer_functions() -> None:
    a = np.array([-7, -6, -1, 0, 1, 5, 6, 7, -(2**31), 2**31 - 1, 12345, -12345, 3, -3, 100, 64], np.int32)
    b = np.array([3, 3, -2, 5, -4, -4, 6, 7, 3, -7, 100, 100, 2, 2, 7, 8], np.int32)
    y = np.zeros((6, 16), np.int32)
    calls = [
        "tw_floordiv(p, q)",
        "tw_floormod(p, q)",
        "tw_popcount(p)",
        "tw_clz(p)",
        "tw_abs(p)",
        "(int)tw_floormod((long long)p, (long long)q)",
    ]
    stores = " ".join(f"tw_store(y + {16 * i} + t, {call});" for i, call in enumerate(calls))
    loads = "const int p = tw_load(a + t), q = tw_load(b + t);"
    run(kernel("int* y, const int* a, const int* b", f"{loads}\n{stores}", 16), y, a, b)
    bits = [int(v) & 0xFFFFFFFF for v in a]
    np.testing.assert_array_equal(y[0], a.astype(np.int64) // b)
    np.testing.assert_array_equal(y[1], a.astype(np.int64) % b)
    np.testing.assert_array_equal(y[2], [v.bit_count() for v in bits])
    np.testing.assert_array_equal(y[3], [32 - v.bit_length() for v in bits])
    np.testing.assert_array_equal(y[4], np.abs(a.astype(np.int64)).astype(np.int32))
    np.testing.assert_array_equal(y[5], a.astype(np.int64) % b)


def test_a_fused_multiply_add_is_rounded_once() -> None:
    y, x = np.zeros(1, np.float32), np.array([1 + 2.0**-12], np.float32)
    run("TW_KERNEL(1, 0) k(float* y, const float* x) { float v = tw_load(x); tw_store(y, tw_fma(v, v, -1.0f)); }", y, x)
    assert y[0] == 2.0**-11 + 2.0**-24


def test_products_of_four_bytes() -> None:
    a, b = (np.random.default_rng(s).integers(-128, 128, (32, 4), np.int8) for s in (0, 1))
    y = np.zeros((2, 32), np.int32)
    body = """const int p = tw_load(a + t), q = tw_load(b + t);
        tw_store(y + t, tw_dp4a_s8s8(p, q, 7));
        tw_store(y + 32 + t, tw_dp4a_u8s8(p, q, t));"""
    run(kernel("int* y, const int* a, const int* b", body), y, a.view(np.int32).ravel(), b.view(np.int32).ravel())
    np.testing.assert_array_equal(y[0], (a.astype(int) * b).sum(1) + 7)
    np.testing.assert_array_equal(y[1], (a.view(np.uint8).astype(int) * b).sum(1) + np.arange(32))


# -- warps and barriers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "lanes"),
    [
        ("tw_shuffle_xor(v, 5)", [i ^ 5 for i in range(32)]),
        ("tw_shuffle_down(v, 3)", [i + 3 if i + 3 < 32 else i for i in range(32)]),
        ("tw_shuffle(v, (7 * t + 3) % 32)", [(7 * i + 3) % 32 for i in range(32)]),
    ],
)
@pytest.mark.parametrize(("kind", "dtype"), [("tw_f16", np.float16), ("float", np.float32), ("double", np.float64)])
def test_shuffles_move_values_of_any_width(call: str, lanes: list[int], kind: str, dtype: type) -> None:
    body = f"const {kind} v = tw_load(x + t); tw_store(y + t, {call});"
    image, launch = compiled(kernel(f"{kind}* y, const {kind}* x", body))
    x = np.random.rand(32).astype(dtype)
    (y,) = verify(image, launch, [np.zeros_like(x), x], (1, 1, 1), ["y"])
    np.testing.assert_array_equal(y, x[lanes])


def test_a_shuffle_from_a_lane_that_the_block_has_not_is_refused() -> None:
    with pytest.raises(UninitialisedFault, match="lane 0 takes a value from lane 8 of a warp of 8 threads"):
        run("TW_KERNEL(8, 0) k(int* y) { tw_store(y + tw_thread_x(), tw_shuffle_down(1, 8)); }", np.zeros(8, np.int32))


def test_named_barriers_hand_a_buffer_from_warp_to_warp() -> None:
    image, launch = compiled(
        """TW_KERNEL(64, 0) k(int* y, const int* x) {
            int* const s = (int*)tw_shared();
            const int lane = tw_thread_x() % 32;
            for (int step = 0; step < 4; ++step) {
                if (tw_thread_x() < 32) {
                    if (step) tw_barrier_named(2, 64);
                    tw_store(s + lane, tw_load(x + 32 * step + lane));
                    tw_barrier_named_arrive(1, 64);
                } else {
                    tw_barrier_named(1, 64);
                    tw_store(y + 32 * step + lane, tw_load(s + 31 - lane));
                    if (step < 3) tw_barrier_named_arrive(2, 64);
                }
            }
        }""",
        128,
    )
    x = np.arange(128, dtype=np.int32).reshape(4, 32)
    (y,) = verify(image, launch, [np.zeros_like(x), x], (1, 1, 1), ["y"])
    np.testing.assert_array_equal(y, x[:, ::-1])


def test_two_dimensional_blocks_and_grids_know_their_places() -> None:
    body = """const int thread = (tw_thread_z() * 2 + tw_thread_y()) * 4 + t;
        const int block = (tw_block_z() * tw_grid_y() + tw_block_y()) * tw_grid_x() + tw_block_x();
        tw_store(y + block * 16 + thread, block * 16 + thread);"""
    image, launch = compiled(kernel("int* y", body))
    y = np.zeros(24 * 16, np.int32)
    image.run(replace(launch, block=(4, 2, 2)), [y], (2, 3, 4), outputs=["y"])
    np.testing.assert_array_equal(y, np.arange(y.size))


# -- fragments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("matrices", "transposed"), [*product((4, 2), (False, True))])
def test_ldmatrix_gives_each_lane_two_neighbours_of_a_row_or_a_column(matrices: int, transposed: bool) -> None:
    suffix = "_trans" if transposed else ""
    body = f"""{LOAD_SHARED.format(words=128, threads=32)}
        unsigned r[{matrices}];
        tw_ldmatrix_x{matrices}{suffix}(r, tw_shared() + 16 * t);
        for (int i = 0; i < {matrices}; ++i) tw_store(y + i * 32 + t, r[i]);"""
    x = halves(4, 8, 8)
    image, launch = compiled(kernel("unsigned* y, const tw_f16* x", body), 512)
    (y,) = verify(image, launch, [np.zeros((matrices, 32), np.uint32), x], (1, 1, 1), ["y"])
    expected = x[:matrices].transpose(0, 2, 1) if transposed else x[:matrices]
    np.testing.assert_array_equal(y.view(np.float16).reshape(matrices, 8, 8), expected)


def test_stmatrix_is_the_inverse_of_ldmatrix() -> None:
    body = f"""{LOAD_SHARED.format(words=128, threads=32)}
        unsigned r[4];
        tw_ldmatrix_x4(r, tw_shared() + 16 * t);
        tw_stmatrix_x4(tw_shared() + 512 + 16 * t, r);
        tw_warp_barrier();
        for (int i = 0; i < 128; i += 32) tw_store(y + i + t, tw_load((unsigned*)(tw_shared() + 512) + i + t));"""
    x = halves(4, 8, 8)
    image, launch = compiled(kernel("unsigned* y, const tw_f16* x", body), 1024)
    (y,) = verify(image, launch, [np.zeros((4, 32), np.uint32), x], (1, 1, 1), ["y"])
    np.testing.assert_array_equal(y.view(np.float16).reshape(4, 8, 8), x)


def fragments(kind: str, pack: int, out: str) -> str:
    """Give a kernel that multiplies (16, 8 pack) by (8 pack, 8, column by column) with one instruction."""
    return f"""TW_KERNEL(32, 0) k({out}* y, const unsigned* a, const unsigned* b) {{
        const int g = tw_thread_x() / 4, j = tw_thread_x() % 4;
        {out} d[4] = {{1, 2, 3, 4}};
        unsigned ra[4], rb[2];
        for (int i = 0; i < 4; ++i) ra[i] = tw_load(a + (g + i % 2 * 8) * 8 + j + i / 2 * 4);
        for (int i = 0; i < 2; ++i) rb[i] = tw_load(b + g * 8 + j + i * 4);
        tw_mma_{kind}(d, ra, rb);
        for (int i = 0; i < 4; ++i) tw_store(y + (g + i / 2 * 8) * 8 + 2 * j + i % 2, d[i]);
    }}"""


START = np.array([[1, 2] * 4] * 8 + [[3, 4] * 4] * 8)


def test_mma_of_float16() -> None:
    a, b, y = halves(16, 16), halves(8, 16, seed=1), np.zeros((16, 8), np.float32)
    run(fragments("m16n8k16_f16", 2, "float"), y, a.view(np.uint32), b.view(np.uint32))
    np.testing.assert_allclose(y, START + a.astype(np.float64) @ b.T.astype(np.float64), rtol=0, atol=17 * 2.0**-21)


def test_mma_of_bfloat16() -> None:
    a, b, y = halves(16, 16).astype(np.float32), halves(8, 16, seed=1).astype(np.float32), np.zeros((16, 8), np.float32)
    a, b = ((m.view(np.uint32) >> 16).astype(np.uint16) for m in (a, b))
    run(fragments("m16n8k16_bf16", 2, "float"), y, a.view(np.uint32), b.view(np.uint32))
    wide = [(m.astype(np.uint32) << 16).view(np.float32).astype(np.float64) for m in (a, b)]
    np.testing.assert_allclose(y, START + wide[0] @ wide[1].T, rtol=0, atol=17 * 2.0**-21)


def test_mma_of_tf32_ignores_the_low_bits_of_its_inputs() -> None:
    a, b = np.random.rand(16, 8).astype(np.float32), np.random.rand(8, 8).astype(np.float32)
    y = np.zeros((16, 8), np.float32)
    run(fragments("m16n8k8_tf32", 1, "float"), y, a.view(np.uint32), b.view(np.uint32))
    cut = [(m.view(np.uint32) & 0xFFFFE000).view(np.float32).astype(np.float64) for m in (a, b)]
    np.testing.assert_allclose(y, START + cut[0] @ cut[1].T, rtol=9 * 2.0**-24)


def test_mma_of_bytes_is_exact() -> None:
    a, b = (np.random.default_rng(s).integers(-128, 128, n, np.int8) for s, n in ((0, (16, 32)), (1, (8, 32))))
    y = np.zeros((16, 8), np.int32)
    run(fragments("m16n8k32_s8", 4, "int"), y, a.view(np.uint32), b.view(np.uint32))
    np.testing.assert_array_equal(y, START + a.astype(int) @ b.T.astype(int))


# -- tensor copies ------------------------------------------------------------------------------------------------

COPY = """TW_KERNEL(32, 0) k(const TW_GRID_CONSTANT tw_tensor_map map, unsigned* y{scalars}) {{
    tw_mbar* const full = (tw_mbar*)(tw_shared() + {bytes});
    if (tw_thread_x() == 0) {{
        tw_mbar_init(full, 1);
        tw_mbar_fence_init();
        tw_mbar_expect_tx(full, {bytes});
        tw_tma_load_{rank}d(tw_shared(), &map, full, {at});
    }}
    tw_barrier();
    tw_mbar_wait(full, 0);
    for (int i = tw_thread_x(); i < {bytes} / 4; i += 32) tw_store(y + i, tw_load((unsigned*)tw_shared() + i));
}}"""


def boxed(x: np.ndarray, box: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    """Give the box at `at`, with zeros where it leaves the array."""
    places = [np.arange(start, start + size) for start, size in zip(at, box, strict=True)]
    inside = np.ix_(*[(place >= 0) & (place < size) for place, size in zip(places, x.shape, strict=True)])
    result = np.zeros(box, x.dtype)
    result[inside] = x[np.ix_(*[p[(p >= 0) & (p < size)] for p, size in zip(places, x.shape, strict=True)])]
    return result


@pytest.mark.parametrize(
    ("shape", "box", "at"),
    [
        ((20, 24), (8, 16), (4, 8)),
        ((20, 24), (8, 16), (16, 16)),
        ((20, 24), (8, 16), (-3, -8)),
        ((20, 24), (8, 8), (40, 0)),
        ((5, 6, 24), (2, 3, 8), (4, -1, 20)),
        ((3, 4, 5, 8), (2, 2, 3, 8), (1, -1, 3, 2)),
    ],
)
def test_a_tensor_copy_fills_what_lies_outside_with_zeros(
    shape: tuple[int, ...], box: tuple[int, ...], at: tuple[int, ...]
) -> None:
    x = halves(*shape)
    size = math.prod(box) * 2
    size_128 = -(-size // 128) * 128
    text = COPY.format(rank=len(shape), bytes=size, at=", ".join(map(str, at[::-1])), scalars="")
    image, launch = compiled(text.replace(f"tw_shared() + {size})", f"tw_shared() + {size_128})"), size_128 + 8)
    (y,) = verify(image, launch, [Tiled(x, box), np.zeros(size // 4, np.uint32)], (1, 1, 1), ["y"])
    np.testing.assert_array_equal(y.view(np.float16).reshape(box), boxed(x, box, at))


@pytest.mark.parametrize("swizzle", [32, 64, 128])
def test_a_swizzle_permutes_the_16_byte_pieces_of_8_rows(swizzle: int) -> None:
    columns = swizzle // 2
    x = halves(32, columns)
    text = COPY.format(rank=2, bytes=32 * swizzle, at="0, 0", scalars="")
    image, launch = compiled(text, 32 * swizzle + 8)
    (y,) = verify(image, launch, [Tiled(x, (32, columns), swizzle), np.zeros(8 * swizzle, np.uint32)], (1, 1, 1), ["y"])
    pieces, expected = x.view(np.uint32).reshape(-1, 4), np.zeros((2 * swizzle, 4), np.uint32)
    for i, piece in enumerate(pieces):
        expected[i ^ (i >> 3) % (swizzle // 16)] = piece
    np.testing.assert_array_equal(y.reshape(-1, 4), expected)


STORE = """TW_KERNEL(128, 0) k(const TW_GRID_CONSTANT tw_tensor_map map) {
    for (int i = tw_thread_x(); i < 256; i += 128) tw_store((float*)tw_shared() + i, (float)i);
    tw_fence_async();
    tw_barrier();
    if (tw_thread_x() == 0) {
        tw_tma_store_2d(&map, tw_shared(), 8, 2);
        tw_tma_store_commit();
        tw_tma_store_wait<0>();
    }
}"""


def test_a_tensor_store_leaves_out_what_lies_outside() -> None:
    image, launch = compiled(STORE, 1024)
    (y,) = verify(image, launch, [Tiled(np.zeros((12, 20), np.float32), (16, 16))], (1, 1, 1), ["map"])
    expected = np.arange(256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(y[2:, 8:], expected[:10, :12])
    assert np.isnan(y[:2]).all() and np.isnan(y[:, :8]).all()  # nobody has written these


def test_a_tensor_store_of_what_was_not_fenced_is_refused() -> None:
    with pytest.raises(ProtocolFault, match="without tw_fence_async"):
        run(
            STORE.replace("    tw_fence_async();\n", ""),
            Tiled(np.zeros((12, 20), np.float32), (16, 16)),
            shared_bytes=1024,
        )


def test_a_thread_that_ends_before_its_tensor_store_has_read_is_refused() -> None:
    with pytest.raises(ProtocolFault, match="ends before its TMA stores have read"):
        run(
            STORE.replace("        tw_tma_store_wait<0>();\n", ""),
            Tiled(np.zeros((12, 20), np.float32), (16, 16)),
            shared_bytes=1024,
        )


# -- products of a warpgroup --------------------------------------------------------------------------------------

# Operands lie in shared memory as the test puts them there; A (64, 16) and B (16, N) of float16.
WGMMA = """TW_KERNEL(128, 0) k(float* y, const tw_f16* x) {{
    {load}
    tw_fence_async();
    tw_barrier();
    const int t = tw_thread_x();
    float d[{n} / 2];
    for (int i = 0; i < {n} / 2; ++i) d[i] = 1.0f;
    tw_wgmma_fence();
    tw_wgmma_f16<{n}, {trans_a}, {trans_b}>(d, tw_wgmma_desc(tw_shared(), {swizzle}, {a_leading}, {a_stride}),
                                            tw_wgmma_desc(tw_shared() + 8192, {swizzle}, {b_leading}, {b_stride}), 1);
    tw_wgmma_commit();
    tw_wgmma_wait<0>();
    for (int i = 0; i < {n} / 2; ++i)
        tw_store(y + (t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * {n} + i / 4 * 8 + t % 4 * 2 + i % 2, d[i]);
}}"""


def k_major(x: np.ndarray, swizzle: int) -> tuple[np.ndarray, int, int]:
    """Lay (rows, 16) out with neighbours along K side by side: bytes, leading and stride offsets.

    CUTLASS, include/cute/arch/mma_sm90_desc.hpp: 8 rows of 16 bytes are a core matrix; with a swizzle, 8 rows of its
    span are an atom.
    """
    rows = len(x)
    if not swizzle:
        return x.reshape(rows // 8, 8, 2, 8).transpose(2, 0, 1, 3).copy(), rows * 16, 128  # [k / 8][row / 8][8][8]
    wide = np.zeros((rows, swizzle // 2), np.float16)
    wide[:, :16] = x
    return permuted(wide, swizzle), 16, 8 * swizzle


def mn_major(x: np.ndarray, swizzle: int) -> tuple[np.ndarray, int, int]:
    """Lay (rows, 16) out with neighbours along M or N side by side: bytes, leading and stride offsets."""
    rows, across = len(x), max(swizzle, 16) // 2
    padded = np.zeros((-(-rows // across) * across, 16), np.float16)
    padded[:rows] = x
    blocks = padded.reshape(-1, across, 2, 8).transpose(0, 2, 3, 1).copy()  # [row / across][k / 8][8][across]
    if not swizzle:
        return blocks, 128, 256  # from k to k + 8, and from row to row + 8
    return permuted(blocks.reshape(-1, across), swizzle), 16 * swizzle, 8 * swizzle


def permuted(x: np.ndarray, swizzle: int) -> np.ndarray:
    pieces = x.reshape(-1, 8)
    result = np.empty_like(pieces)
    for i, piece in enumerate(pieces):
        result[i ^ (i >> 3) % (swizzle // 16)] = piece
    return result


@pytest.mark.parametrize("n", [8, 64, 256])
@pytest.mark.parametrize("swizzle", [0, 32, 64, 128])
@pytest.mark.parametrize(("trans_a", "trans_b"), [*product((0, 1), (0, 1))])
def test_wgmma_reads_operands_in_all_layouts(n: int, swizzle: int, trans_a: int, trans_b: int) -> None:
    a, b = halves(64, 16), halves(n, 16, seed=1)
    lay = (k_major, mn_major)
    (a_bytes, a_leading, a_stride), (b_bytes, b_leading, b_stride) = lay[trans_a](a, swizzle), lay[trans_b](b, swizzle)
    x = np.zeros(4096 + b_bytes.size, np.float16)
    x[: a_bytes.size], x[4096:] = a_bytes.ravel(), b_bytes.ravel()
    text = WGMMA.format(
        load=LOAD_SHARED.format(words=x.size // 2, threads=128), n=n, trans_a=trans_a, trans_b=trans_b, swizzle=swizzle,
        a_leading=a_leading, a_stride=a_stride, b_leading=b_leading, b_stride=b_stride,
    )  # fmt: skip
    image, launch = compiled(text, x.nbytes)
    (y,) = verify(image, launch, [np.zeros((64, n), np.float32), x], (1, 1, 1), ["y"])
    np.testing.assert_allclose(y, 1 + a.astype(np.float64) @ b.T.astype(np.float64), rtol=0, atol=17 * 2.0**-22)


def test_a_descriptor_of_an_odd_address_is_refused() -> None:
    with pytest.raises(AlignmentFault, match="8 bytes past a multiple of 16"):
        run(
            "TW_KERNEL(128, 0) k(int* y) { tw_wgmma_desc(tw_shared() + 8, 128, 16, 1024); }",
            np.zeros(1, np.int32),
            shared_bytes=64,
        )
