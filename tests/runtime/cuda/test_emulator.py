"""Kernels that are right give NumPy's values in every order and mode, and nothing is reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tilewright.codegen.cuda.source import CudaSource
from tilewright.ir.errors import ArgumentError, CompileError
from tilewright.runtime.cuda.emulator.image import Emulator
from tilewright.runtime.cuda.emulator.tensor_map import Tiled, encode_tensor_map
from tilewright.runtime.cuda.emulator.verify import verify

from .emulation import compiled, halves, run, source, text_of

EPS = 2.0**-24  # half a step of float32 at 1


def assert_product(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Compare with the exact product; a sum of K terms is off by at most K rounding errors of their sizes."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    assert (np.abs(got - a @ b) <= (a.shape[1] + 1) * EPS * (np.abs(a) @ np.abs(b))).all()


def test_an_addition_with_a_tail() -> None:
    image, launch = compiled(text_of("add"))
    a, b = np.random.rand(2, 1000).astype(np.float32)
    (c,) = verify(image, launch, [np.empty_like(a), a, b, 1000], (4, 1, 1), ["c"])
    np.testing.assert_array_equal(c, a + b)


def test_a_reduction_by_shuffles_and_shared_memory() -> None:
    image, launch = compiled(text_of("rowsum"), 16)
    x = np.random.rand(7, 300).astype(np.float32)
    (y,) = verify(image, launch, [np.empty(7, np.float32), x, 300], (7, 1, 1), ["y"])
    np.testing.assert_allclose(y, x.sum(1, dtype=np.float64), rtol=300 * EPS)


@pytest.mark.parametrize(("m", "n", "k"), [(128, 128, 16), (256, 128, 48)])
def test_a_float32_product_with_two_buffers_of_shared_memory(m: int, n: int, k: int) -> None:
    image, launch = compiled(text_of("sgemm"), 33280)
    a, b = np.random.rand(m, k).astype(np.float32), np.random.rand(k, n).astype(np.float32)
    (c,) = verify(image, launch, [np.empty((m, n), np.float32), a, b, m, n, k], (n // 128, m // 128, 1), ["C"])
    assert_product(c, a, b)


@pytest.mark.parametrize(("m", "n", "k"), [(128, 128, 64), (128, 256, 160)])
def test_a_float16_product_by_mma_with_three_stages_of_copies(m: int, n: int, k: int) -> None:
    image, launch = compiled(text_of("hgemm"), 49152)
    a, b = halves(m, k), halves(k, n, seed=1)
    (c,) = verify(image, launch, [np.empty((m, n), np.float32), a, b, m, n, k], (n // 128, m // 128, 1), ["C"])
    assert_product(c, a, b)


@pytest.mark.parametrize(("m", "n", "k"), [(128, 128, 64), (256, 128, 448)])
def test_a_float16_product_by_wgmma_with_a_ring_of_tensor_copies(m: int, n: int, k: int) -> None:
    image, launch = compiled(text_of("wgemm"), 131072 + 64)
    a, b = halves(m, k), halves(n, k, seed=1)
    maps = [Tiled(a, (128, 64), 128), Tiled(b, (128, 64), 128)]
    (c,) = verify(image, launch, [*maps, np.empty((m, n), np.float32), m, n, k], (n // 128, m // 128, 1), ["C"])
    assert_product(c, a, b.T)


def test_a_product_of_clusters_that_share_tiles_by_multicast() -> None:
    image, launch = compiled(text_of("multicast"), 32768 + 32)
    m, n, k = 256, 128, 320
    a, b = halves(m, k), halves(n, k, seed=1)
    maps = [Tiled(a, (64, 64), 128), Tiled(b, (32, 64), 128)]
    (c,) = verify(image, launch, [*maps, np.empty((m, n), np.float32), n, k], (m // 64, n // 64, 1), ["C"])
    assert_product(c, a, b.T)


# -- images and arguments -----------------------------------------------------------------------------------------


def test_one_source_is_compiled_once() -> None:
    text = text_of("add")
    assert Emulator().compile(source(text)) is Emulator().compile(source(text))


def test_text_that_is_no_cpp_is_refused_with_the_line() -> None:
    with pytest.raises(CompileError, match=r"kernel:3:.*nonsense") as refused:
        compiled("TW_KERNEL(32, 0) broken(int* n) {\n    tw_store(n, 1);\n    nonsense;\n}")
    assert refused.value.step == "emulate"


def test_arguments_of_another_number_are_refused() -> None:
    with pytest.raises(ArgumentError, match="takes 4 arguments, got 3"):
        run(text_of("add"), *np.zeros((3, 8), np.float32))


def test_a_launch_that_tells_other_parameters_than_the_kernel_has_is_refused() -> None:
    right = source(text_of("add"))
    other = source("TW_KERNEL(256, 0) add(float* c, float* a, float* b, long long n) {}").launches[0]
    image = Emulator().compile(CudaSource(right.text, right.launches))
    with pytest.raises(ArgumentError, match=r"\[8, 8, 8, 4\] bytes, and its launch of \[8, 8, 8, 8\]"):
        image.run(other, [*np.zeros((3, 8), np.float32), 8], (1, 1, 1))


def test_an_address_that_the_device_did_not_give_is_refused() -> None:
    c = np.zeros(8, np.float32)
    with pytest.raises(ArgumentError, match="a is 0x10, which the emulated device has not given"):
        run(text_of("add"), c, 16, c.copy(), 8)


def test_a_grid_that_cuts_a_cluster_is_refused() -> None:
    image, launch = compiled(text_of("multicast"), 32768 + 32)
    with pytest.raises(ArgumentError, match=r"\(3, 1, 1\) blocks in clusters of \(2, 1, 1\)"):
        image.run(launch, [bytes(128), bytes(128), np.zeros(1, np.float32), 1, 1], (3, 1, 1))


@pytest.mark.parametrize(
    ("box", "strides", "swizzle", "fact"),
    [
        ((64, 257), (128,), 128, "1 to 256 elements"),
        ((12, 8), (128,), 0, "24 bytes: no multiple of 16"),
        ((64, 8), (120,), 128, "not multiples of 16"),
        ((64, 8), (128,), 64, "128 bytes, and the swizzle spans 64"),
        ((16, 8), (128,), 128, "32 bytes, and the swizzle spans 128"),
        ((64, 8, 1), (128,), 128, "rank is 2"),
    ],
)
def test_tensor_maps_that_the_driver_refuses_are_refused(
    box: tuple[int, ...], strides: tuple[int, ...], swizzle: int, fact: str
) -> None:
    with pytest.raises(ArgumentError, match=fact):
        encode_tensor_map(2, 4096, (64, 64), strides, box, swizzle)


# -- where the context switch is not written for the processor ----------------------------------------------------


def test_the_fibers_of_the_c_library_do_the_same(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys
import subprocess
import sys
from pathlib import Path

import numpy as np
from pathlib import Path
from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter
from tilewright.runtime.cuda.emulator import library, toolchain
from tilewright.runtime.cuda.emulator.image import Emulator
sources = map(str, toolchain.SOURCES.glob("*.cpp"))
options = "-std=c++17 -DTWE_UCONTEXT -fno-exceptions -fno-rtti -fPIC -shared -fvisibility=hidden -U_FORTIFY_SOURCE -w"
built = Path({str(tmp_path)!r}) / "runtime.so"
subprocess.run([toolchain.toolchain().compiler, *options.split(), "-o", str(built), *sources], check=True)
library.runtime_library = lambda: built
params = Parameter("buffer", "y", "float32"), Parameter("buffer", "x", "float32"), Parameter("scalar", "n", "int32")
launch = Launch("rowsum", params, ("3", "1", "1"), (128, 1, 1), 16)
x, y = np.random.rand(3, 500).astype(np.float32), np.zeros(3, np.float32)
Emulator().compile(CudaSource({text_of("rowsum")!r}, (launch,))).run(launch, [y, x, 500], (3, 1, 1), outputs=["y"])
np.testing.assert_allclose(y, x.sum(1), rtol=500 * 2.0**-24)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
