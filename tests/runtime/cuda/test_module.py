"""CUDA modules, called like those of the CPU, on two devices: the emulated one, and a driver with emulated kernels."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tilewright
from tilewright import te
from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter, TensorMap, Workspace
from tilewright.ir.dtype import bfloat16, float32, int32
from tilewright.ir.errors import ArgumentError, BoundsFault, CompileError, DeviceError, UninitialisedFault
from tilewright.ir.settings import Settings
from tilewright.ir.target import Target
from tilewright.runtime import trace
from tilewright.runtime.cuda import availability, code, devices
from tilewright.runtime.cuda.array import DeviceArray, to_device
from tilewright.runtime.cuda.code import CudaCode, launches_to_json, source_from_json
from tilewright.runtime.cuda.device import Device
from tilewright.runtime.cuda.dlpack import header_of
from tilewright.runtime.cuda.emulated_device import EmulatedDevice
from tilewright.runtime.cuda.module import CudaModule
from tilewright.runtime.module import load_module
from tilewright.runtime.signature import ArrayParam, ScalarParam, Signature

from .stand_in import calls, emulated_cubin, fake_driver, stand_in_device

ARCH = "sm_90a"
GPU = Target("cuda", arch=ARCH)


@pytest.fixture(params=["emulated", "driver"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    if request.param == "emulated":
        yield EmulatedDevice(ARCH)
        return
    with stand_in_device(monkeypatch) as made:
        yield made


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    with stand_in_device(monkeypatch) as made:
        yield made


def module_of(source: CudaSource, signature: Signature, device: Device) -> CudaModule:
    cubin = emulated_cubin(source, ARCH) if device.is_gpu else None
    return CudaModule([CudaCode(source, ARCH, cubin)], [signature], GPU, device)


# scale(A: (n,), factor, B: (n,)): B = factor A + sum of the chunk's first elements, over two launches and a workspace
SCALE = CudaSource(
    """
TW_KERNEL(32, 0) firsts(const float* A, float* W, int n) {
    int c = tw_block_x() * 32 + tw_thread_x();
    if (c < (n + 31) / 32) tw_store(W + c, tw_load(A + 32 * c));
}
TW_KERNEL(32, 0) scale(const float* A, float* B, const float* W, float factor, int n) {
    int i = tw_block_x() * 32 + tw_thread_x();
    if (i < n) tw_store(B + i, factor * tw_load(A + i) + tw_load(W + tw_block_x()));
}
""",
    (
        Launch(
            "firsts",
            (Parameter("buffer", "A", "float32"), Parameter("workspace", "W", "float32"),
             Parameter("scalar", "n", "int32")),
            ("((n + 31) // 32 + 31) // 32", "1", "1"), (32, 1, 1),
        ),
        Launch(
            "scale",
            (Parameter("buffer", "A", "float32"), Parameter("buffer", "B", "float32"),
             Parameter("workspace", "W", "float32"), Parameter("scalar", "factor", "float32"),
             Parameter("scalar", "n", "int32")),
            ("(n + 31) // 32", "1", "1"), (32, 1, 1),
        ),
    ),
    (Workspace("W", "(n + 31) // 32 * 4"),),
)  # fmt: skip
SCALE_SIGNATURE = Signature(
    "scale",
    (
        ArrayParam("A", float32, ("n",), None, False),
        ScalarParam("factor", float32),
        ArrayParam("B", float32, ("n",), None, True),
    ),
    (ScalarParam("n", int32, 0),),
)


@pytest.fixture
def scale(device: Device) -> CudaModule:
    return module_of(SCALE, SCALE_SIGNATURE, device)


def expected(a: np.ndarray, factor: float) -> np.ndarray:
    return np.float32(factor) * a + np.repeat(a[::32], 32)[: len(a)]


def filled(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(n).random(n, "float32"), np.full(n, np.nan, "float32")


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1025, 3000])
def test_numpy_arrays_are_copied_there_and_back(scale: CudaModule, n: int) -> None:
    a, b = filled(n)
    scale(a, 2.5, b)
    np.testing.assert_array_equal(b, expected(a, 2.5))


def test_only_what_is_written_is_copied_back(gpu: Device) -> None:
    scale = module_of(SCALE, SCALE_SIGNATURE, gpu)
    a, b = filled(100)
    a.flags.writeable = False
    calls()
    scale(a, 2.5, b)
    names = calls()
    assert (names.count("cuMemcpyHtoD_v2"), names.count("cuMemcpyDtoH_v2")) == (2, 1)


def test_an_emulated_call_finds_nothing_of_the_one_before() -> None:
    text = """
TW_KERNEL(1, 0) lazy(float* B, float* W, int first) {
    if (first) tw_store(W, 3.0f);
    tw_store(B, tw_load(W));
}
"""
    params = (Parameter("buffer", "B", "float32"), Parameter("workspace", "W", "float32"),
              Parameter("scalar", "first", "int32"))  # fmt: skip
    source = CudaSource(text, (Launch("lazy", params, ("1", "1", "1"), (1, 1, 1)),), (Workspace("W", "4"),))
    signature = Signature("lazy", (ArrayParam("B", float32, (1,), None, True), ScalarParam("first", int32)), ())
    module = module_of(source, signature, EmulatedDevice(ARCH))
    module(b := np.zeros(1, "float32"), 1)
    assert b[0] == 3
    with pytest.raises(UninitialisedFault):
        module(b, 0)


def test_calls_of_changing_sizes_keep_no_stale_memory(scale: CudaModule) -> None:
    for n in (100, 1000, 100, 7):
        a, b = filled(n)
        scale(a, 1.0, b)
        np.testing.assert_array_equal(b, expected(a, 1.0))


def test_arrays_without_elements_launch_nothing(scale: CudaModule) -> None:
    calls()
    scale(np.empty(0, "float32"), 2.0, np.empty(0, "float32"))
    assert "cuLaunchKernel" not in calls()


def test_arrays_on_the_device_are_used_where_they_are(scale: CudaModule, device: Device) -> None:
    a, b = filled(100)
    on_a, on_b = to_device(a, device), DeviceArray(device, (100,), "float32")
    scale(np.ones(100, "float32"), 1.0, np.empty(100, "float32"))  # the workspace is there
    calls()
    scale(on_a, 3.0, on_b)
    assert set(calls()) <= {"cuLaunchKernel"}
    np.testing.assert_array_equal(on_b.numpy(), expected(a, 3.0))


def test_arrays_here_and_there_may_be_mixed(scale: CudaModule, device: Device) -> None:
    a, b = filled(50)
    scale(to_device(a, device), 3.0, b)
    np.testing.assert_array_equal(b, expected(a, 3.0))


def test_an_array_on_the_device_gives_its_memory_back(device: Device) -> None:
    before = fake_driver().fake_live()
    array = to_device(np.ones(10, "float32"), device)
    assert fake_driver().fake_live() == before + device.is_gpu
    del array
    gc.collect()
    assert fake_driver().fake_live() == before


def test_a_bound_call_sees_what_its_arrays_hold_then(scale: CudaModule) -> None:
    a, b = filled(64)
    bound = scale.kernel.bind(a, 2.0, b)
    a[:] = 1
    bound()
    assert (b == 3).all()
    a[:] = 2
    bound()
    assert (b == 6).all()


def test_two_bound_calls_share_nothing(scale: CudaModule) -> None:
    (a, b), (c, d) = filled(64), filled(90)
    first, second = scale.kernel.bind(a, 2.0, b), scale.kernel.bind(c, 3.0, d)
    second(), first()
    np.testing.assert_array_equal(b, expected(a, 2.0))
    np.testing.assert_array_equal(d, expected(c, 3.0))


def test_strided_arrays_are_read_by_their_strides(device: Device) -> None:
    text = (
        "TW_KERNEL(4, 0) pick(const float* A, float* B) { int i = tw_thread_x(); tw_store(B + i, tw_load(A + 3 * i)); }"
    )
    params = (Parameter("buffer", "A", "float32"), Parameter("buffer", "B", "float32"))
    source = CudaSource(text, (Launch("pick", params, ("1", "1", "1"), (4, 1, 1)),))
    arrays = (ArrayParam("A", float32, (4,), (3,), False), ArrayParam("B", float32, (4,), None, True))
    whole, b = np.arange(12, dtype="float32"), np.zeros(4, "float32")
    module_of(source, Signature("pick", arrays, ()), device)(whole[::3], b)
    assert b.tolist() == [0, 3, 6, 9]


def test_tensor_maps_are_made_of_the_arrays_that_a_call_gets(device: Device) -> None:
    text = """
TW_KERNEL(32, 0) copy(const TW_GRID_CONSTANT tw_tensor_map M, float* B, int n) {
    float* tile = (float*)tw_shared();
    tw_mbar* bar = (tw_mbar*)(tw_shared() + 1024);
    if (tw_thread_x() == 0) {
        tw_mbar_init(bar, 1);
        tw_mbar_fence_init();
        tw_mbar_expect_tx(bar, 1024);
        tw_tma_load_2d(tile, &M, bar, 0, tw_block_x() * 8);
    }
    tw_barrier();
    tw_mbar_wait(bar, 0);
    for (int i = tw_thread_x(); i < 256; i += 32)
        if (tw_block_x() * 8 + i / 32 < n) tw_store(B + tw_block_x() * 256 + i, tw_load(tile + i));
}
"""
    params = (Parameter("tensor_map", "M"), Parameter("buffer", "B", "float32"), Parameter("scalar", "n", "int32"))
    launch = Launch("copy", params, ("(n + 7) // 8", "1", "1"), (32, 1, 1), 1152)
    source = CudaSource(text, (launch,), (), (TensorMap("M", "A", "float32", ("32", "n"), ("128",), (32, 8)),))
    arrays = (ArrayParam("A", float32, ("n", 32), None, False), ArrayParam("B", float32, ("n", 32), None, True))
    a, b = np.random.default_rng(0).random((20, 32), "float32"), np.zeros((20, 32), "float32")
    module_of(source, Signature("copy", arrays, (ScalarParam("n", int32),)), device)(a, b)
    np.testing.assert_array_equal(b, a)


# -- arrays of other packages -----------------------------------------------------------------------------------------


class Exported:
    """An array on the device as another package holds it."""

    def __init__(self, array: DeviceArray, device_type: int = 2) -> None:
        self.array, self.device_type = array, device_type
        self.streams: list[object] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device_type, 0

    def __dlpack__(self, stream: object = None) -> object:
        self.streams.append(stream)
        capsule = self.array.header.__dlpack__()
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        ctypes.c_int32.from_address(get(capsule, b"dltensor") + 8).value = self.device_type
        return capsule


def interface_of(array: DeviceArray) -> object:
    return SimpleNamespace(__cuda_array_interface__=array.__cuda_array_interface__)


@pytest.mark.parametrize("export", [Exported, interface_of], ids=["dlpack", "cuda_array_interface"])
def test_arrays_of_other_packages_are_used_where_they_are(gpu: Device, export: Callable) -> None:
    scale = module_of(SCALE, SCALE_SIGNATURE, gpu)
    a, b = filled(70)
    on_a, on_b = to_device(a, gpu), to_device(b, gpu)
    calls()
    scale(export(on_a), 3.0, export(on_b))
    assert not {"cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2"} & set(calls())
    np.testing.assert_array_equal(on_b.numpy(), expected(a, 3.0))


def test_a_dlpack_owner_is_told_the_stream_that_launches_go_to(gpu: Device) -> None:
    scale = module_of(SCALE, SCALE_SIGNATURE, gpu)
    a, b = filled(70)
    exported = Exported(to_device(a, gpu))
    scale(exported, 3.0, b)
    assert exported.streams == [1]  # the legacy default one


def test_an_owner_that_refuses_is_quoted(gpu: Device) -> None:
    class Learning(Exported):
        def __dlpack__(self, stream: object = None) -> object:
            raise RuntimeError("Can't export tensors that require gradient")

    scale = module_of(SCALE, SCALE_SIGNATURE, gpu)
    with pytest.raises(ArgumentError, match="argument 0, A, cannot be used where it lies: Can't export tensors"):
        scale(Learning(DeviceArray(gpu, (70,), "float32")), 3.0, np.ones(70, "float32"))


@pytest.mark.parametrize("export", [Exported, interface_of], ids=["dlpack", "cuda_array_interface"])
def test_arrays_of_other_packages_are_checked_like_any(gpu: Device, export: Callable) -> None:
    scale = module_of(SCALE, SCALE_SIGNATURE, gpu)
    short = export(DeviceArray(gpu, (69,), "float32"))
    with pytest.raises(ArgumentError, match=r"argument 2, B, must have shape \(n,\), got \(69,\)"):
        scale(np.ones(70, "float32"), 3.0, short)
    with pytest.raises(ArgumentError, match="argument 2, B, must be float32, got int32"):
        scale(np.ones(70, "float32"), 3.0, export(DeviceArray(gpu, (70,), "int32")))
    same = export(DeviceArray(gpu, (70,), "float32"))
    with pytest.raises(ArgumentError, match="argument 2, B, is written but shares 280 bytes with argument 0, A"):
        scale(same, 3.0, same)


def test_bfloat16_at_an_offset_is_held_in_uint16(gpu: Device) -> None:
    array = DeviceArray(gpu, (3, 5), bfloat16)
    exported = Exported(array)
    capsule = exported.__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = get(capsule, b"dltensor")
    ctypes.c_uint8.from_address(tensor + 20).value = 4  # kDLBfloat
    ctypes.c_uint64.from_address(tensor + 40).value = 16  # byte_offset
    exported.__dlpack__ = lambda stream: capsule
    seen = header_of(exported)
    assert (seen.dtype, seen.shape, seen.strides) == (np.uint16, (3, 5), (10, 2))
    assert seen.__array_interface__["data"][0] == array.address + 16


def test_gpu_memory_is_refused_by_an_emulated_device(gpu: Device) -> None:
    scale = module_of(SCALE, SCALE_SIGNATURE, EmulatedDevice(ARCH))
    with pytest.raises(ArgumentError, match=r"argument 0, A, lies in the memory of another device than CPU emulation"):
        scale(Exported(DeviceArray(gpu, (70,), "float32")), 3.0, np.ones(70, "float32"))


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "too few arguments": ((np.ones(3, "float32"), 1.0), "takes 3 arguments, got 2"),
    "wrong type": ((np.ones(3), 1.0, np.ones(3, "float32")), "argument 0, A, must be float32, got float64"),
    "other size": ((np.ones(3, "float32"), 1.0, np.ones(4, "float32")), "axis 0 must be n = 3, as an argument before"),
    "no number": (
        (np.ones(3, "float32"), "x", np.ones(3, "float32")),
        "argument 1, factor, must be a float32, got 'x'",
    ),
    "gaps": ((np.ones(6, "float32")[::2], 1.0, np.ones(3, "float32")), "argument 0, A, is not contiguous"),
    "a list": (([1.0], 1.0, np.ones(1, "float32")), "argument 0, A, must be an array, got a list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_are_checked_as_on_the_cpu_and_nothing_is_launched(case: str, scale: CudaModule) -> None:
    arguments, fact = REFUSED[case]
    calls()
    with pytest.raises(ArgumentError, match=re.escape(fact)) as refused:
        scale(*arguments)
    assert refused.value.step == "scale"
    assert "cuLaunchKernel" not in calls()


def test_a_grid_that_no_gpu_launches_is_refused_with_its_size(device: Device) -> None:
    params = (Parameter("buffer", "B", "float32"), Parameter("scalar", "n", "int32"))
    launch = Launch("wide", params, ("1", "n", "1"), (1, 1, 1))
    text = "TW_KERNEL(1, 0) wide(float* B, int n) { if (tw_block_y() < 1) tw_store(B, 1.0f); }"
    signature = Signature("wide", (ArrayParam("B", float32, ("n",), None, True),), (ScalarParam("n", int32),))
    module = module_of(CudaSource(text, (launch,)), signature, device)
    with pytest.raises(ArgumentError, match="wide would have 70000 blocks along y, and a grid has at most 65535"):
        module(np.ones(70000, "float32"))


def test_a_kernel_that_writes_beyond_its_array_is_caught_by_the_emulation() -> None:
    text = "TW_KERNEL(32, 0) beyond(float* B, int n) { tw_store(B + tw_thread_x(), 1.0f); }"
    params = (Parameter("buffer", "B", "float32"), Parameter("scalar", "n", "int32"))
    source = CudaSource(text, (Launch("beyond", params, ("1", "1", "1"), (32, 1, 1)),))
    signature = Signature("beyond", (ArrayParam("B", float32, ("n",), None, True),), (ScalarParam("n", int32),))
    module = module_of(source, signature, EmulatedDevice(ARCH))
    module(np.zeros(32, "float32"))
    with pytest.raises(BoundsFault):
        module(np.zeros(31, "float32"))


# -- times ------------------------------------------------------------------------------------------------------------


def test_times_say_what_took_them_and_leave_results(scale: CudaModule, device: Device) -> None:
    a, b = filled(100)
    timing = scale.time_evaluator(number=3, repeat=4, flush_bytes=None)(a, 2.0, b)
    assert len(timing.results_s) == 4 and timing.min > 0
    assert (timing.device, timing.is_gpu) == ("CPU emulation (not a GPU)", device.is_gpu)
    assert ("no time of a GPU" in str(timing)) is not device.is_gpu
    np.testing.assert_array_equal(b, expected(a, 2.0))


def test_batches_grow_until_they_take_the_time_that_is_asked_for(scale: CudaModule, device: Device) -> None:
    numbers = []
    times_s = type(device).times_s

    def spy(run: Callable, number: int, repeat: int, flush_bytes: int) -> list[float]:
        numbers.append(number)
        return [1e-3] if number == 1 else times_s(device, run, number, repeat, flush_bytes)

    device.times_s = spy
    scale.time_evaluator(number=2, repeat=1, min_repeat_ms=4.0)(*_with_factor(40))
    assert numbers == [1, 4]


def _with_factor(n: int) -> tuple:
    a, b = filled(n)
    return a, 2.0, b


def test_less_than_one_call_is_refused(scale: CudaModule) -> None:
    with pytest.raises(ArgumentError, match="number=0, repeat=1"):
        scale.time_evaluator(number=0)(*_with_factor(40))


# -- modules ----------------------------------------------------------------------------------------------------------


def bound_schedule() -> tuple:
    n = te.var("n")
    a = te.placeholder((n,), name="A")
    b = te.compute((n,), lambda i: a[i] * 2.0 + 1.0, name="B")
    schedule = tilewright.create_schedule(b.op)
    outer, inner = schedule[b].split(b.op.axis[0], 64)
    schedule[b].bind(outer, te.thread_axis("blockIdx.x"))
    schedule[b].bind(inner, te.thread_axis("threadIdx.x"))
    return schedule, [a, b]


def test_a_schedule_is_built_and_run_in_the_emulation() -> None:
    module = tilewright.build(*bound_schedule(), target=f"cuda -arch={ARCH}", name="twice", device="emulate")
    a, b = filled(1000)
    module["twice"](a, b)
    np.testing.assert_array_equal(b, a * 2 + 1)
    assert list(module) == ["twice"] and "TW_KERNEL(64" in module.get_source("cu")
    assert "twice(A: float32 (n,), B: float32 (n,))" in repr(module)


def test_without_a_gpu_a_build_compiles_and_a_call_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_open", {})
    monkeypatch.setattr(availability, "probe", lambda: {"problem": "no_driver", "detail": "libcuda.so.1: not here"})
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    module = tilewright.build(*bound_schedule(), target=f"cuda -arch={ARCH}")
    assert module.cubin[:4] == b"\x7fELF"
    assert module.resources["main_kernel0"].spill_stores == 0
    assert "EXIT" in module.get_source("sass")
    assert f".target {ARCH}" in module.get_source("ptx")
    with pytest.raises(DeviceError, match="there is no CUDA driver") as refused:
        module(*filled(10))
    assert refused.value.site.startswith(__file__)


@pytest.mark.parametrize(
    ("level", "shown", "hidden"),
    [
        (1, " registers, 0 bytes spilled for sm_90a", "TW_KERNEL"),
        (3, "thread", "TW_KERNEL"),
        (4, "TW_KERNEL(64", ".entry"),
        (6, ".visible .entry twice", "Resources("),
    ],
)
def test_the_debug_level_says_what_is_shown(
    level: int, shown: str, hidden: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trace, "settings", lambda: Settings(debug=level))
    tilewright.build(*bound_schedule(), target=f"cuda -arch={ARCH}", name="twice")
    text = capsys.readouterr().err
    assert shown in text and hidden not in text


def test_the_emulation_compiles_no_cubin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "compile_cubin", lambda *_: pytest.fail("compiled"))
    tilewright.build(*bound_schedule(), target=f"cuda -arch={ARCH}", device="emulate")(*filled(10))


def test_a_device_is_for_cuda_alone() -> None:
    with pytest.raises(ArgumentError, match="device='emulate' for target kind 'llvm'"):
        tilewright.build(*bound_schedule(), device="emulate")


def test_an_unknown_form_of_source_is_refused(scale: CudaModule) -> None:
    with pytest.raises(ArgumentError, match="no text of the form 'll'"):
        scale.get_source("ll")


def test_a_module_is_written_to_a_file_and_read_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tilewright.build(*bound_schedule(), target=f"cuda -arch={ARCH}", name="twice")
    built.save(tmp_path / "twice.zip")
    monkeypatch.setattr(code, "compile_cubin", lambda *_: pytest.fail("compiled"))
    read = load_module(tmp_path / "twice.zip", device="emulate")
    assert (read.cubin, read.resources, read.target) == (built.cubin, built.resources, built.target)
    assert read["twice"].signature == built["twice"].signature
    a, b = filled(100)
    read(a, b)
    np.testing.assert_array_equal(b, a * 2 + 1)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("module.json", '{"target": "cuda -arch=sm_90a"}')
    with pytest.raises(ArgumentError, match="is damaged"):
        load_module(tmp_path / "bad.zip")


def test_a_source_is_the_same_after_json() -> None:
    source = CudaSource(
        "text", SCALE.launches, SCALE.workspaces, (TensorMap("M", "A", "float32", ("8", "n"), ("32",), (8, 2), 32),)
    )
    assert source_from_json("text", launches_to_json(source)) == source


def test_text_that_no_compiler_takes_is_refused_by_the_cubin() -> None:
    launch = Launch("bad", (), ("1", "1", "1"), (1, 1, 1))
    with pytest.raises(CompileError):
        _ = CudaCode(CudaSource("TW_KERNEL(1, 0) bad() { what; }", (launch,)), ARCH).cubin
