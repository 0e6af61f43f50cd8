"""The adapter to PyCUDA, on a stand-in of it over a fake driver: what it calls, with which bytes, and after errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tilewright.codegen.cuda.source import TensorMap
from tilewright.ir.errors import ArgumentError, DeviceError, DeviceLost, TargetError
from tilewright.runtime.cuda.emulator.tensor_map import encode_tensor_map
from tilewright.runtime.cuda.packing import bfloat16_bits
from tilewright.runtime.cuda.pycuda_device import PycudaDevice

from .stand_in import calls, fake_code, fake_driver, install, stand_in_device


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[PycudaDevice]:
    calls()
    with stand_in_device(monkeypatch) as made:
        yield made


def place(device: PycudaDevice, array: np.ndarray) -> int:
    """Give the address of a copy."""
    address = device.alloc(array.nbytes)
    device.upload(address, array)
    return address


def fetch(device: PycudaDevice, address: int, count: int, dtype: str = "float32") -> np.ndarray:
    array = np.empty(count, dtype)
    device.download(address, array)
    return array


# -- the device -------------------------------------------------------------------------------------------------------


def test_the_device_says_what_it_is_and_what_fits(device: PycudaDevice) -> None:
    assert (device.name, device.arch, device.is_gpu) == ("CPU emulation (not a GPU)", "sm_90", True)
    assert device.limits.shared_bytes == 227 << 10
    assert (device.limits.multiprocessors, device.limits.l2_bytes) == (132, 50 << 20)


def test_the_context_is_the_primary_one_and_is_popped_when_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls()
    with stand_in_device(monkeypatch) as device:
        device.alloc(100)
        assert fake_driver().fake_current() == 1
    device.close()  # a second time, as at exit
    assert (fake_driver().fake_current(), fake_driver().fake_live()) == (0, 0)
    names = [name for name in calls() if "Ctx" in name and name != "cuCtxSynchronize"]
    assert names == [
        "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuDevicePrimaryCtxRelease_v2", "cuCtxPopCurrent_v2",
    ]  # fmt: skip


def test_without_a_gpu_the_driver_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setenv("FAKE_CUDA", "no_device")
    with pytest.raises(DeviceError, match="no CUDA-capable device is detected"):
        PycudaDevice()


# -- memory -----------------------------------------------------------------------------------------------------------


def test_what_is_uploaded_comes_back(device: PycudaDevice) -> None:
    data = np.arange(1000, dtype="float32")
    address = place(device, data)
    assert address % 256 == 0
    assert (fetch(device, address, 1000) == data).all()
    device.fill(address + 4, 0, 8)
    assert fetch(device, address, 4).tolist() == [0, 0, 0, 3]


def test_an_empty_array_has_an_address_and_moves_nothing(device: PycudaDevice) -> None:
    address = place(device, np.empty(0, "float32"))
    assert address and fetch(device, address, 0).size == 0
    assert "cuMemcpyHtoD_v2" not in calls()


def test_no_memory_left_is_a_memory_error_and_the_device_goes_on(device: PycudaDevice) -> None:
    with pytest.raises(MemoryError, match="no 4294967296 bytes left"):
        device.alloc(1 << 32)
    device.synchronize()


def test_memory_freed_on_another_thread_is_given_back_at_the_next_alloc(device: PycudaDevice) -> None:
    address = device.alloc(100)
    thread = threading.Thread(target=device.free, args=(address,))
    thread.start()
    thread.join()
    assert fake_driver().fake_live() == 1
    device.alloc(100)
    assert fake_driver().fake_live() == 1
    device.free(address=next(iter(device._memory)))
    assert fake_driver().fake_live() == 0


# -- launches ---------------------------------------------------------------------------------------------------------


def test_a_launch_computes_and_sets_no_shape_by_the_deprecated_call(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("double_plus_one", "buffer A, buffer B, int32 n"))
    a, b = place(device, np.arange(100, dtype="float32")), place(device, np.zeros(100, "float32"))
    calls()
    kernel((3, 1, 1), (a, b, 90))
    assert calls() == ["cuLaunchKernel"]
    assert fetch(device, b, 100).tolist() == [2 * i + 1 if i < 90 else 0 for i in range(100)]


def test_without_pycudas_own_entry_its_public_call_gets_the_same_bytes(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("report", "buffer C", block=(8, 4, 2), shared_bytes=1024))
    kernel._launch_kernel = None
    c = place(device, np.zeros(7, "int32"))
    calls()
    kernel((5, 6, 7), (c,))
    assert calls() == ["cuFuncSetBlockShape", "cuLaunchKernel"]
    assert fetch(device, c, 7, "int32").tolist() == [5, 6, 7, 8, 4, 2, 1024]


def test_scalars_lie_where_a_c_struct_has_them(device: PycudaDevice) -> None:
    kinds = "int8 a, float64 b, int16 d, int64 e, float16 f, bfloat16 g, bool h, float32 i, uint32 j"
    (kernel,) = device.load(fake_code("scalars", f"buffer C, {kinds}"))
    c = place(device, np.zeros(9))
    kernel((1, 1, 1), (c, -7, 0.1, -300, 1 << 40, 1.5, 3.14159, True, 0.25, 1 << 31))
    half, brain = np.float16(1.5).view("uint16"), 0x4049
    assert fetch(device, c, 9, "float64").tolist() == [-7, 0.1, -300, 1 << 40, half, brain, 1, 0.25, 1 << 31]


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),
        (1.01171875, 0x3F82),
        (-2.0, 0xC000),
        (3.4e38, 0x7F80),
        (float("inf"), 0x7F80),
    ],
)
def test_bfloat16_is_rounded_to_nearest_even(value: float, bits: int) -> None:
    assert bfloat16_bits(value) == bits


def test_a_nan_stays_one_as_bfloat16() -> None:
    bits = bfloat16_bits(np.uint32(0x7F800001).view(np.float32))
    assert bits & 0x7F80 == 0x7F80 and bits & 0x7F


def test_more_than_48_kb_of_shared_memory_are_asked_for(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("report", "buffer C", shared_bytes=100 << 10))
    c = place(device, np.zeros(7, "int32"))
    kernel((1, 1, 1), (c,))
    assert fetch(device, c, 7, "int32")[6] == 100 << 10
    assert calls().count("cuFuncSetAttribute") == 1
    device.load(fake_code("report", "buffer C", shared_bytes=48 << 10))
    assert "cuFuncSetAttribute" not in calls()


def test_too_much_shared_memory_is_refused_when_loaded(device: PycudaDevice) -> None:
    with pytest.raises(DeviceError, match="invalid argument"):
        device.load(fake_code("report", "buffer C", shared_bytes=228 << 10))


def test_code_of_another_architecture_is_refused_before_the_driver_sees_it(device: PycudaDevice) -> None:
    calls()
    with pytest.raises(TargetError, match=r"the code is for sm_100, and .* runs sm_90"):
        device.load(fake_code("report", "buffer C", arch="sm_100"))
    assert calls() == []


def test_occupancy_is_that_of_the_launch_with_its_shared_memory(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("report", "buffer C", block=(256, 1, 1), shared_bytes=100 << 10))
    assert kernel.blocks_per_multiprocessor() == 8
    assert "cuModuleUnload" in calls()


# -- tensor maps ------------------------------------------------------------------------------------------------------

MAP = TensorMap("M", "A", "bfloat16", ("64", "100"), ("128",), (32, 8), 64)


def test_a_tensor_map_describes_the_tensor_and_goes_first(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("mapped", "tensor_map M, buffer C"))
    a, c = device.alloc(64 * 100 * 2), device.alloc(128)
    kernel((1, 1, 1), (device.tensor_map(MAP, a, (64, 100), (128,)), c))
    assert fetch(device, c, 128, "uint8").tobytes() == encode_tensor_map(2, a, (64, 100), (128,), (32, 8), 64)
    assert fake_driver().fake_map_type() == 9  # CU_TENSOR_MAP_DATA_TYPE_BFLOAT16


@pytest.mark.parametrize(("offset", "stride", "fact"), [(8, 128, "starts at address"), (0, 120, "rows apart by 120")])
def test_what_a_tensor_map_cannot_reach_is_refused(device: PycudaDevice, offset: int, stride: int, fact: str) -> None:
    address = device.alloc(1 << 16)
    with pytest.raises(ArgumentError, match=f"A has {fact}|A {fact}"):
        device.tensor_map(MAP, address + offset, (64, 100), (stride,))


# -- times ------------------------------------------------------------------------------------------------------------


def test_batches_are_recorded_once_and_repeated_by_the_driver(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("count", "buffer C"))
    c = place(device, np.zeros(1, "int32"))
    calls()
    results = device.times_s(lambda: kernel((1, 1, 1), (c,)), number=5, repeat=3, flush_bytes=0)
    names = calls()
    assert len(results) == 3 and all(0 < s < 1 for s in results)
    assert (names.count("cuLaunchKernel"), names.count("cuGraphLaunch")) == (5, 4)
    assert fetch(device, c, 1, "int32")[0] == 5 * 4  # three batches and one before them
    assert not fake_driver().fake_on_default_stream()
    kernel((1, 1, 1), (c,))
    assert fake_driver().fake_on_default_stream()


def test_other_memory_is_overwritten_before_each_batch_and_given_back(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("count", "buffer C"))
    c = place(device, np.zeros(1, "int32"))
    before = fake_driver().fake_live()
    calls()
    device.times_s(lambda: kernel((1, 1, 1), (c,)), number=1, repeat=2, flush_bytes=1 << 20)
    names = [name for name in calls() if name in ("cuMemsetD8_v2", "cuEventRecord", "cuGraphLaunch")]
    assert names == ["cuGraphLaunch"] + 2 * ["cuMemsetD8_v2", "cuEventRecord", "cuGraphLaunch", "cuEventRecord"]
    assert fake_driver().fake_live() == before


def test_a_refused_launch_ends_the_recording(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("count", "buffer C", block=(2048, 1, 1)))
    c = place(device, np.zeros(1, "int32"))
    with pytest.raises(DeviceError, match="invalid argument"):
        device.times_s(lambda: kernel((1, 1, 1), (c,)), number=1, repeat=1, flush_bytes=0)
    (right,) = device.load(fake_code("count", "buffer C"))
    right((1, 1, 1), (c,))
    assert fetch(device, c, 1, "int32")[0] == 1  # launched, not recorded


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_refused_launch_leaves_the_device_usable(device: PycudaDevice) -> None:
    (kernel,) = device.load(fake_code("count", "buffer C"))
    c = place(device, np.zeros(1, "int32"))
    with pytest.raises(
        DeviceError, match=r"count: CPU emulation \(not a GPU\): cuLaunchKernel failed: invalid argument"
    ) as e:
        kernel((1, 70000, 1), (c,))
    assert type(e.value) is DeviceError
    kernel((1, 1, 1), (c,))
    assert fetch(device, c, 1, "int32")[0] == 1


def test_after_a_kernels_fault_every_call_says_that_the_context_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with stand_in_device(monkeypatch) as device:
            (faulty,) = device.load(fake_code("faulty", "buffer C"))
            address = device.alloc(4)
            faulty((1, 1, 1), (address,))  # nobody knows yet
            with pytest.raises(DeviceLost, match="an illegal memory access was encountered"):
                device.synchronize()
            calls()
            for step in (lambda: device.alloc(4), device.synchronize, lambda: faulty((1, 1, 1), (address,))):
                with pytest.raises(DeviceLost, match="an earlier call broke the context") as refused:
                    step()
                assert "another process" in refused.value.advice
            device.free(address)
            assert calls() == []
        assert fake_driver().fake_current() == 0  # popped all the same: PyCUDA would abort the process
    finally:
        fake_driver().fake_repair()
