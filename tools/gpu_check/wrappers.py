"""Phase `wrappers`: every name of the device language against values that NumPy computes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.codegen.cuda.source import CudaSource, TensorMap
from tilewright.ir.errors import DeviceLost, Error
from tilewright.runtime.cuda.array import DeviceArray, to_device
from tilewright.runtime.cuda.code import CudaCode
from tilewright.runtime.cuda.compiler.compile import compile_cubin, read_cubin
from tilewright.runtime.cuda.device import Device
from tilewright.runtime.cuda.emulated_device import EmulatedDevice
from tilewright.runtime.cuda.emulator.orders import FORWARD, HIGH_WARPS_FIRST, MODES
from tilewright.runtime.cuda.workers import device_workers

from .case import Case, source_of
from .hopper_cases import hopper_cases
from .maths_cases import maths_cases
from .memory_cases import memory_cases
from .tensor_cases import tensor_cases

ARCH = "sm_90a"
SEED = 0
LIMIT_S = 30.0  # for one case
GROUP = 24  # cases that are compiled together
MAKERS = {"maths": maths_cases, "memory": memory_cases, "tensor": tensor_cases, "hopper": hopper_cases}


@dataclass(frozen=True)
class Outcome:
    """What came of one case; `fault` is "" where it is right."""

    group: str
    name: str
    fault: str


def groups() -> Iterator[tuple[str, list[Case]]]:
    """Give the cases in groups that are compiled together."""
    for name, maker in MAKERS.items():
        cases = sorted(maker(np.random.default_rng(SEED)), key=lambda case: case.needs)
        for start in range(0, len(cases), GROUP):
            yield name, cases[start : start + GROUP]


def cubin_path(folder: Path, source: CudaSource) -> Path:
    """Give where the machine code of a source is kept."""
    return folder / f"{hashlib.sha256(source.text.encode()).hexdigest()[:16]}.{ARCH}.cubin"


def build(folder: Path) -> int:
    """Compile all cases into a folder; give their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for _, cases in groups():
        source = source_of(cases)
        cubin_path(folder, source).write_bytes(compile_cubin(source.text, ARCH).code)
        count += len(cases)
    return count


def run(folder: Path, device_name: str, most: int | None = None) -> list[Outcome]:
    """Run all cases, or the first `most` of each group, each in a worker that may die of it."""
    outcomes = []
    with device_workers(_Serve(folder), device_name) as workers:
        for place, (name, cases) in enumerate(groups()):
            for number, case in enumerate(cases[:most]):
                reply = workers.call((place, number), LIMIT_S)
                outcomes.append(
                    Outcome(name, case.name, reply.value if reply.ok else f"{reply.outcome.value}: {reply.text}")
                )
    return outcomes


class _Serve:
    """What runs in the worker: groups are loaded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._groups: list[list[Case]] = []
        self._loaded: dict[int, Any] = {}

    def __call__(self, device: Device, request: tuple[int, int]) -> str:
        place, number = request
        self._groups = self._groups or [cases for _, cases in groups()]
        cases = self._groups[place]
        try:
            if place not in self._loaded:
                self._loaded[place] = device.load(self._code(device, source_of(cases)))
            return run_case(device, self._loaded[place][number], cases[number])
        except DeviceLost:
            raise
        except Error as error:
            return str(error)

    def _code(self, device: Device, source: CudaSource) -> CudaCode:
        path = cubin_path(self._folder, source)
        if not device.is_gpu or not path.exists():
            return CudaCode(source, ARCH)  # compiled here, where that is possible
        return CudaCode(source, ARCH, read_cubin(path.read_bytes(), "", source.text, ARCH))


def run_case(device: Device, kernel: Any, case: Case) -> str:
    """Run a case in every situation of a device; tell what is wrong, "" for nothing."""
    if not isinstance(device, EmulatedDevice):
        return _run_once(device, kernel, case)
    for device.order in (FORWARD, HIGH_WARPS_FIRST):
        for device.mode in MODES if "async" in case.text or "tma" in case.text or "wgmma" in case.text else MODES[:1]:
            fault = _run_once(device, kernel, case)
            if fault:
                return f"{fault} (order {device.order}, {device.mode.name.lower()})"
    device.order, device.mode = FORWARD, MODES[0]
    return ""


def _run_once(device: Device, kernel: Any, case: Case) -> str:
    arrays: dict[str, DeviceArray] = {}
    for name, array in case.arrays.items():
        arrays[name] = to_device(array, device) if name not in case.expected else _poisoned(array, device)
    values: dict[str, Any] = {name: array.address for name, array in arrays.items()}
    for which in case.maps:
        described: TensorMap = case.tensor_map(which)
        array = case.arrays[which.array]
        strides = [int(s) for s in reversed(array.strides[:-1])]
        values[described.name] = device.tensor_map(described, values[which.array], array.shape[::-1], strides)
    kernel(case.grid, [values[param.name] for param in case.launch.params])
    device.synchronize()
    return case.verdict({name: arrays[name].numpy() for name in case.expected})


def _poisoned(array: np.ndarray, device: Device) -> DeviceArray:
    made = DeviceArray(device, array.shape, str(array.dtype))
    device.fill(made.address, 0xFF, made.nbytes)
    return made


def as_json(outcomes: Sequence[Outcome], wall_s: float) -> dict[str, Any]:
    """Give the outcomes as plain data."""
    failed = [{"group": o.group, "case": o.name, "fault": o.fault} for o in outcomes if o.fault]
    return {"cases": len(outcomes), "failed": failed, "wall_s": wall_s}


def phase(folder: Path, device_name: str, most: int | None = None) -> dict[str, Any]:
    """Run the phase; give its results."""
    began = time.monotonic()
    return as_json(run(folder / "wrappers", device_name, most), time.monotonic() - began)
