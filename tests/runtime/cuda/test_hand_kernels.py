"""Kernels written by hand in the device language: they are right, and become the instructions that make them fast."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter
from tilewright.runtime.cuda.compiler.compile import Cubin, compile_cubin
from tilewright.runtime.cuda.compiler.sass import Sass, disassemble
from tilewright.runtime.cuda.emulator.image import Argument, Emulator
from tilewright.runtime.cuda.emulator.tensor_map import Tiled
from tilewright.runtime.cuda.emulator.verify import verify

KERNELS = Path(__file__).parent / "kernels"


@cache
def compiled(name: str, arch: str) -> tuple[Cubin, Sass]:
    cubin = compile_cubin((KERNELS / f"{name}.cu").read_text(), arch)
    return cubin, disassemble(cubin.code)[name]


def buffers(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[list[Parameter], list[Argument]]:
    kinds = [Parameter("buffer", name, str(x.dtype)) for name, x in zip("CAB", (c, a, b), strict=True)]
    return kinds, [c, a, b]


def tensor_maps(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[list[Parameter], list[Argument]]:
    maps = [Parameter("tensor_map", "mapA"), Parameter("tensor_map", "mapB")]
    tiles = [Tiled(x, (128, 64), 128) for x in (a, np.ascontiguousarray(b.T))]
    return [*maps, Parameter("buffer", "C", "float32")], [*tiles, c]


@pytest.mark.parametrize(
    ("name", "dtype", "depth", "threads", "shared_bytes", "given"),
    [
        ("sgemm", np.float32, 48, 256, 33280, buffers),
        ("hgemm", np.float16, 160, 128, 49152, buffers),
        ("wgemm", np.float16, 9 * 64, 384, 131136, tensor_maps),  # more steps than stages
    ],
)
def test_the_products_are_right_in_all_orders_and_modes(name, dtype, depth, threads, shared_bytes, given) -> None:
    m, n = 128, 256
    random = np.random.default_rng(0)
    a = random.standard_normal((m, depth)).astype(dtype)
    b = random.standard_normal((depth, n)).astype(dtype)
    params, arguments = given(np.zeros((m, n), np.float32), a, b)
    params += [Parameter("scalar", size, "int32") for size in "MNK"]
    launch = Launch(name, tuple(params), ("2", "1", "1"), (threads, 1, 1), shared_bytes)
    image = Emulator().compile(CudaSource((KERNELS / f"{name}.cu").read_text(), (launch,)))
    (c,) = verify(image, launch, [*arguments, m, n, depth], (2, 1, 1), ["C"])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    bound = depth * 2.0**-24 * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))  # one rounding a term
    assert (np.abs(c - exact) <= bound).all()


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_the_float32_product_is_nine_tenths_multiplications_and_moves_whole_vectors(arch: str) -> None:
    cubin, sass = compiled("sgemm", arch)
    assert cubin.faults == ()
    assert cubin.resources["sgemm"].registers <= 128  # two blocks of 256 threads share 65536 registers
    assert sass.share("FFMA") >= 0.89
    assert sass.count_hot("FFMA") == 16 * 64  # depth of a step, results of a thread
    assert sass.count_hot("LDS.128") == 16 * 4
    assert set(sass.widths("LDS")) == set(sass.widths("LDG")) == set(sass.widths("STG")) == {128}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_the_float16_product_has_four_tensor_core_instructions_for_each_load_of_fragments(arch: str) -> None:
    cubin, sass = compiled("hgemm", arch)
    assert cubin.faults == ()
    assert cubin.resources["hgemm"].registers <= 255
    assert sass.count_hot("HMMA.16816.F32") == 2 * 4 * 8
    assert sass.count_hot("LDSM.4") == 2 * 8
    assert sass.count_hot("LDGSTS.E.BYPASS.128") == sass.count_hot("LDGSTS") == 8
    assert sass.count_hot("STS") == sass.count_hot("LDG") == 0


def test_the_hopper_product_keeps_tensor_copies_and_tensor_cores_apart_and_busy() -> None:
    cubin, sass = compiled("wgemm", "sm_90a")
    assert cubin.faults == ()
    assert cubin.resources["wgemm"].registers == 168  # 65536 among 384 threads, before warpgroups trade them
    assert sass.count_hot("HGMMA.64x128x16.F32") == sass.count("HGMMA") == 4
    assert sass.count_hot("R2UR") == 0  # descriptors are known to be equal in a warp
    assert sass.count("HMMA") == sass.count("LDSM") == sass.count("LDGSTS") == 0
    assert sass.count("UTMALDG.2D") == 2 and sass.count_hot("UTMALDG") == 0
    assert sass.count("USETMAXREG") == 2
    assert sass.count_hot("SYNCS.PHASECHK.TRYWAIT") >= 1
