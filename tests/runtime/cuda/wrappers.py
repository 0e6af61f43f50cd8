"""One small kernel for each name of the device language, and the instructions that it must become."""

from __future__ import annotations

from dataclasses import dataclass

PARAMETERS = "float* x, const float* y, double* z, const double* w, int* n, const int* m"
MAP = "const TW_GRID_CONSTANT tw_tensor_map map, "
HEAD = """
    const int t = tw_thread_x();
    const float f = tw_load(y + t), g = tw_load(y + t + 1000), h = tw_load(y + t + 2000);
    const double d = tw_load(w + t), e = tw_load(w + t + 1000), c = tw_load(w + t + 2000);
    const int i = tw_load(m + t), j = tw_load(m + t + 1000);
    unsigned char* s = tw_shared();
"""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """Statements of a kernel, and the opcodes of which each must occur in its machine code."""

    body: str
    sass: str


def kernel(name: str, wrapper: Wrapper) -> str:
    """Give a kernel of one warpgroup around the statements."""
    parameters = (MAP if "&map" in wrapper.body else "") + PARAMETERS
    return f"TW_KERNEL(128, 1) {name}({parameters}) {{{HEAD}    {wrapper.body}\n}}\n"


def _maths(name: str, float32: str, float64: str, count: int = 1) -> tuple[Wrapper, Wrapper]:
    of32, of64 = (", ".join(letters[:count]) for letters in ("fgh", "dec"))
    return (
        Wrapper(f"tw_store(x + t, tw_{name}({of32}));", f"LDG.E {float32} STG.E"),
        Wrapper(f"tw_store(z + t, tw_{name}({of64}));", f"LDG.E.64 {float64} STG.E.64"),
    )


MATHS = (
    *_maths("exp", "MUFU.EX2", "DFMA"),
    *_maths("exp2", "MUFU.EX2", "DFMA"),
    *_maths("exp10", "MUFU.EX2", "DFMA"),
    *_maths("log", "FFMA FSETP", "DFMA"),
    *_maths("log2", "FFMA FSETP", "DFMA"),
    *_maths("log10", "FFMA FSETP", "DFMA"),
    *_maths("log1p", "FFMA FADD.RZ", "DFMA"),
    *_maths("sqrt", "MUFU.RSQ", "MUFU.RSQ64H"),
    *_maths("rsqrt", "MUFU.RSQ", "MUFU.RSQ64H"),
    *_maths("tanh", "MUFU.EX2 MUFU.RCP", "DFMA"),
    *_maths("sigmoid", "MUFU.EX2 MUFU.RCP", "MUFU.RCP64H"),
    *_maths("erf", "MUFU.EX2 FFMA", "DFMA"),
    *_maths("sin", "FFMA F2I", "DFMA"),
    *_maths("cos", "FFMA F2I", "DFMA"),
    *_maths("tan", "FFMA F2I MUFU.RCP", "DFMA MUFU.RCP64H"),
    *_maths("asin", "FFMA MUFU.RSQ", "DFMA"),
    *_maths("acos", "FFMA MUFU.RSQ", "DFMA"),
    *_maths("atan", "FFMA MUFU.RCP", "DFMA"),
    *_maths("sinh", "MUFU.EX2 MUFU.RCP", "DFMA"),
    *_maths("cosh", "MUFU.EX2 MUFU.RCP", "DFMA"),
    *_maths("asinh", "MUFU.RSQ FFMA", "DFMA"),
    *_maths("acosh", "MUFU.RSQ FFMA", "DFMA"),
    *_maths("atanh", "MUFU.RCP FFMA", "DFMA"),
    *_maths("floor", "FRND.FLOOR", "FRND.F64.FLOOR"),
    *_maths("ceil", "FRND.CEIL", "FRND.F64.CEIL"),
    *_maths("trunc", "FRND.TRUNC", "FRND.F64.TRUNC"),
    *_maths("round", "FADD.RZ FRND.TRUNC", "DADD.RZ FRND.F64.TRUNC"),
    *_maths("nearbyint", "FRND", "FRND.F64"),
    *_maths("abs", "FADD", "DADD"),
    *_maths("pow", "MUFU.RCP FFMA", "DFMA", 2),
    *_maths("atan2", "MUFU.RCP FFMA", "DFMA", 2),
    *_maths("fmod", "MUFU.RCP FRND.TRUNC", "DSETP", 2),
    *_maths("hypot", "MUFU.RSQ", "MUFU.RSQ64H", 2),
    *_maths("copysign", "LOP3.LUT", "LOP3.LUT", 2),
    *_maths("nextafter", "FSETP", "DSETP", 2),
    *_maths("fma", "FFMA", "DFMA", 3),
    Wrapper("tw_store(x + t, tw_ldexp(f, i));", "FMUL"),
    Wrapper("tw_store(z + t, tw_ldexp(d, i));", "DMUL"),
    Wrapper("tw_store(n + t, tw_isnan(f) + 2 * tw_isnan(d));", "FSETP.NAN DSETP.NAN"),
    Wrapper("tw_store(n + t, tw_isinf(f) + 2 * tw_isinf(d));", "FSETP DSETP"),
    Wrapper("tw_store(n + t, tw_isfinite(f) + 2 * tw_isfinite(d));", "FSETP DSETP"),
    Wrapper("tw_store(n + t, tw_abs(i));", "IABS"),
)

_VECTORS = (  # element, count, width in SASS
    ("float", 4, ".128"), ("double", 2, ".128"), ("tw_f16", 8, ".128"), ("signed char", 16, ".128"),
    ("float", 2, ".64"), ("tw_bf16", 4, ".64"), ("tw_bf16", 2, ""), ("signed char", 4, ""), ("signed char", 2, ".U16"),
)  # fmt: skip
MEMORY = (
    *(
        Wrapper(
            f"typedef tw_vec<{element}, {count}> V; tw_store((V*)x + t, tw_load((const V*)y + t));",
            f"LDG.E{width} STG.E{width}",
        )
        for element, count, width in _VECTORS
    ),
    *(
        Wrapper(
            f"typedef tw_vec<{element}, {count}> V; V* p = (V*)s; tw_store(p + t, tw_load_const((const V*)y + t)); "
            f"tw_barrier(); tw_store((V*)x + t, tw_load(p + i));",
            f"LDG.E{width}.CONSTANT STS{width} BAR.SYNC LDS{width} STG.E{width}",
        )
        for element, count, width in _VECTORS
    ),
    Wrapper("tw_store(x + t, tw_load_const(y + t + i));", "LDG.E.CONSTANT"),
    Wrapper("tw_store((char*)x + t, tw_load_const((const char*)y + t + i));", "LDG.E.U8.CONSTANT STG.E.U8"),
    Wrapper("tw_store((tw_f16*)x + t, tw_to_f16(f));", "F2FP.PACK_AB STG.E.U16"),
    Wrapper("tw_store((tw_bf16*)x + t, tw_to_bf16(f));", "F2FP.BF16.PACK_AB STG.E.U16"),
    Wrapper("tw_store(x + t, tw_f32(tw_load((const tw_f16*)y + t)));", "LDG.E.U16 HADD2.F32"),
    Wrapper("tw_store(x + t, tw_f32(tw_load((const tw_bf16*)y + t)));", "LDG.E.U16 SHF.L"),
    Wrapper("tw_store(x + t, tw_reinterpret<float>(i + 1));", "STG.E"),
    Wrapper("tw_store((unsigned*)n + t, tw_load_word((const tw_f16*)y + 2 * t));", "LDG.E STG.E"),
    Wrapper("tw_store((tw_f16*)s + t, tw_to_f16(f)); tw_store((unsigned*)n, tw_load_word(s + 4 * t));", "STS.U16 LDS"),
    Wrapper("TW_NO_UNROLL for (int k = 0; k < 5; ++k) tw_store(x + i * k + t, f);", "STG.E BRA BRA"),
    Wrapper("TW_UNROLL for (int k = 0; k < 5; ++k) tw_store(x + 128 * k + t, f);", " ".join(["STG.E"] * 5)),
)

WARPS = (
    Wrapper("tw_store(n + t, tw_thread_x() + tw_thread_y() + tw_thread_z());", "S2R STG.E"),
    Wrapper("tw_store(n + t, tw_block_x() + tw_block_y() + tw_block_z());", "S2R STG.E"),
    Wrapper("tw_store(n + t, tw_grid_x() + tw_grid_y() + tw_grid_z());", "IADD3 STG.E"),
    Wrapper("tw_barrier_named(3, 64);", "BAR.SYNC"),
    Wrapper("tw_barrier_named_arrive(3, 64);", "BAR.ARV"),
    Wrapper("for (int k = 0; k < i; ++k) { if (k == j) return; tw_warp_barrier(); tw_store(x + k, f); }", "WARPSYNC"),
    Wrapper("tw_store(x + t, tw_shuffle_xor(f, 5));", "SHFL.BFLY"),
    Wrapper("tw_store(z + t, tw_shuffle_xor(d, 5));", "SHFL.BFLY SHFL.BFLY"),
    Wrapper("tw_store((tw_f16*)x + t, tw_shuffle_down(tw_to_f16(f), 5));", "SHFL.DOWN"),
    Wrapper("tw_store((char*)x + t, tw_shuffle_down((char)i, 5));", "SHFL.DOWN"),
    Wrapper("tw_store(n + t, tw_shuffle(i, 5));", "SHFL.IDX"),
    Wrapper(
        "tw_store((tw_vec<float, 2>*)x + t, tw_shuffle(tw_load((tw_vec<float, 2>*)x + t), 5));", "SHFL.IDX SHFL.IDX"
    ),
    Wrapper("tw_store(n + t, tw_popcount(i) + tw_popcount((long long)i << j));", "POPC POPC"),
    Wrapper("tw_store(n + t, tw_clz(i));", "FLO.U32"),
    Wrapper("tw_store(n + t, tw_floordiv(i, j));", "MUFU.RCP"),
    Wrapper("tw_store(n + t, tw_floormod(i, j));", "MUFU.RCP"),
    Wrapper("tw_store(n + t, tw_dp4a_s8s8(i, j, 3));", "IDP.4A.S8.S8"),
    Wrapper("tw_store(n + t, tw_dp4a_u8s8(i, j, 3));", "IDP.4A.U8.S8"),
)

_RETIRE = "tw_cp_async_commit(); tw_cp_async_wait<1>();"
COPIES = (
    Wrapper(f"tw_cp_async<16>(s + 16 * t, x + 4 * t, 16); {_RETIRE}", "LDGSTS.E.BYPASS.128 LDGDEPBAR DEPBAR.LE"),
    Wrapper(f"tw_cp_async<16>(s + 16 * t, x + 4 * t, i < 5 ? 16 : 0); {_RETIRE}", "LDGSTS.E.BYPASS.128"),
    Wrapper(f"tw_cp_async<16>(s + 16 * t, x + 4 * t, i); {_RETIRE}", "LDGSTS.E.BYPASS.128.ZFILL"),
    Wrapper(f"tw_cp_async<8>(s + 8 * t, x + 2 * t, 8); {_RETIRE}", "LDGSTS.E.64"),
    Wrapper(f"tw_cp_async<4>(s + 4 * t, x + t, 4); {_RETIRE}", "LDGSTS.E"),
)

_OPERANDS = "unsigned a[4] = {(unsigned)i, 1, 2, 3}, b[2] = {(unsigned)j, 5};"
_SUM = "tw_store(x + t, q[0] + q[1] + q[2] + q[3]);"
_FLOATS = f"{_OPERANDS} float q[4] = {{f, g, h, 0}};"
FRAGMENTS = (
    *(
        Wrapper(
            f"unsigned r[{count}]; tw_ldmatrix_x{count}{trans}(r, s + 16 * t); tw_store(n + t, (int)(r[0] + r[1]));",
            f"LDSM.16.{'MT88' if trans else 'M88'}.{count}",
        )
        for count in (2, 4)
        for trans in ("", "_trans")
    ),
    Wrapper(f"{_FLOATS} tw_mma_m16n8k16_f16(q, a, b); {_SUM}", "HMMA.16816.F32"),
    Wrapper(f"{_FLOATS} tw_mma_m16n8k16_bf16(q, a, b); {_SUM}", "HMMA.16816.F32.BF16"),
    Wrapper(f"{_FLOATS} tw_mma_m16n8k8_tf32(q, a, b); {_SUM}", "HMMA.1688.F32.TF32"),
    Wrapper(
        f"{_OPERANDS} int q[4] = {{i, j, 1, 2}}; tw_mma_m16n8k32_s8(q, a, b); tw_store(n + t, q[0] + q[3]);",
        "IMMA.16832.S8.S8",
    ),
    Wrapper("tw_store((unsigned*)n + t, tw_to_tf32(f));", "LOP3.LUT"),
)

_DESCRIPTORS = "tw_wgmma_desc(s, 128, 16, 1024), tw_wgmma_desc(s + 8192, 128, 16, 1024)"
HOPPER = (
    Wrapper("tw_mbar_init((tw_mbar*)s, 3); tw_mbar_fence_init();", "SYNCS.EXCH.64"),
    Wrapper("tw_mbar_arrive((tw_mbar*)s);", "SYNCS.ARRIVE"),
    Wrapper("tw_mbar_arrive_cluster((tw_mbar*)s, 1);", "SYNCS.ARRIVE.RED"),
    Wrapper("tw_mbar_expect_tx((tw_mbar*)s, 4096);", "SYNCS.ARRIVE"),
    Wrapper("tw_mbar_wait((tw_mbar*)s, i);", "SYNCS.PHASECHK.TRYWAIT"),
    Wrapper("tw_fence_async();", "FENCE.VIEW.ASYNC"),
    Wrapper("tw_tma_load_2d(s, &map, (tw_mbar*)s, i, j);", "UTMALDG.2D"),
    Wrapper("tw_tma_load_3d(s, &map, (tw_mbar*)s, i, j, 3);", "UTMALDG.3D"),
    Wrapper("tw_tma_load_4d(s, &map, (tw_mbar*)s, i, j, 3, 4);", "UTMALDG.4D"),
    Wrapper("tw_tma_load_2d_multicast(s, &map, (tw_mbar*)s, i, j, 3);", "UTMALDG.2D.MULTICAST"),
    Wrapper(
        "tw_tma_store_2d(&map, s, i, j); tw_tma_store_commit(); tw_tma_store_wait<0>();",
        "UTMASTG.2D UTMACMDFLUSH DEPBAR.LE",
    ),
    Wrapper("unsigned r[4] = {(unsigned)i, 1, 2, 3}; tw_stmatrix_x4(s + 16 * t, r);", "STSM.16.M88.4"),
    Wrapper("if (tw_block_x() > 3) tw_setmaxnreg_dec<40>(); else tw_setmaxnreg_inc<232>();", "USETMAXREG USETMAXREG"),
    Wrapper("tw_store(n + t, tw_cluster_rank());", "STG.E"),
    Wrapper("tw_cluster_barrier();", "UCGABAR_ARV UCGABAR_WAIT"),
    *(
        Wrapper(
            f"float q[{width // 2}]; tw_wgmma_fence(); tw_wgmma_{kind}<{width}>(q, {_DESCRIPTORS}, 0); "
            "tw_wgmma_commit(); tw_wgmma_wait<0>(); "
            f"TW_UNROLL for (int k = 0; k < {width // 2}; ++k) tw_store(x + t + 128 * k, q[k]);",
            f"WARPGROUP.ARRIVE HGMMA.64x{width}x16.F32{suffix} WARPGROUP.DEPBAR.LE",
        )
        for kind, suffix in (("f16", ""), ("bf16", ".BF16"))
        for width in range(8, 257, 8)
    ),
    *(
        Wrapper(
            f"float q[32]; tw_wgmma_fence(); tw_wgmma_f16<64, {a}, {b}>(q, {_DESCRIPTORS}, 0); tw_wgmma_commit(); "
            f"tw_wgmma_wait<0>(); TW_UNROLL for (int k = 0; k < 32; ++k) tw_store(x + t + 128 * k, q[k]);",
            "HGMMA.64x64x16.F32",
        )
        for a in (0, 1)
        for b in (0, 1)
    ),
)

SM_80 = (*MATHS, *MEMORY, *WARPS, *COPIES, *FRAGMENTS)
