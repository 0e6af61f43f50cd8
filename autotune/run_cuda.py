"""From kernels of a GPU to a verified time, in a worker process that owns the device."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..ir.errors import (
    DeadlockFault,
    DeviceError,
    DeviceLost,
    EmulationFault,
    Error,
    ProtocolFault,
    RaceFault,
    UninitialisedFault,
)
from ..runtime.cuda.array import DeviceArray, to_device
from ..runtime.cuda.availability import availability
from ..runtime.cuda.device import Device
from ..runtime.cuda.emulated_device import EmulatedDevice
from ..runtime.cuda.emulator.image import Emulator
from ..runtime.cuda.emulator.orders import MODES, ORDERS
from ..runtime.cuda.kernel import BoundLaunches, CudaKernel
from .build_cuda import EMULATED
from .builder import build_candidate
from .built import Built
from .reference import Reference
from .requests import BuildRequest, FinalRequest, RunRequest, Stages
from .runner import BATCHES, FEW, LEAST_ROUNDS, SLOW, UNLIKELY, Measured
from .task import Task
from .trial import Status

EMULATION_PATIENCE = 60.0  # an emulated kernel is run in every order of its threads, each a thousand times slower

_STATUS_OF_FAULT = {  # what would come of it on a GPU; other faults end the kernel
    DeadlockFault: Status.RUN_TIMEOUT,
    RaceFault: Status.WRONG_RESULT,
    UninitialisedFault: Status.WRONG_RESULT,
    ProtocolFault: Status.WRONG_RESULT,
}


def cuda_stages(task: Task, answer: Reference) -> Stages:
    """Give the work of builders and of a runner for a GPU, or for its emulation.

    Raises DeviceError where the task asks for a GPU and there is none, with what is missing and what works without.
    """
    if task.device != EMULATED:
        here = availability(task.target.arch)
        if not here.runs:
            raise DeviceError("tune", here.paragraph(), advice=f'device="{EMULATED}", or a machine with a GPU')
    placed: list[Placed] = []  # in the runner's process, at its first request

    def build(request: BuildRequest) -> Built:
        return build_candidate(task, request.config, request.effort, request.max_spills, task.device)

    def run(device: Device, request: RunRequest | FinalRequest) -> Measured | list[Measured]:
        if not placed:
            placed.append(Placed(device, answer))
        match request:
            case RunRequest(built, best_s):
                return measure_on_device(placed[0], built, best_s)
            case FinalRequest(built, rounds, budget_s):
                return remeasure_on_device(placed[0], built, rounds, budget_s)

    patience = EMULATION_PATIENCE if task.device == EMULATED else 1.0
    return Stages(build, run, task.device, ("quick",), patience)


class Placed:
    """A reference whose arrays lie on a device, where all candidates find them."""

    def __init__(self, device: Device, reference: Reference) -> None:
        self.device, self.reference = device, reference
        self.arrays: tuple[DeviceArray, ...] = tuple(to_device(array, device) for array in reference.arrays)

    def bind(self, built: Built) -> BoundLaunches:
        """Load a candidate and give its launches on the arrays."""
        assert built.gpu is not None, "the candidate was built for a processor"
        return CudaKernel(built.gpu.signature, built.gpu.code, self.device).bind(*self.arrays)

    def poison(self) -> None:
        """Fill the outputs with what no kernel gives."""
        for position in self.reference.expected:
            array = self.arrays[position]
            self.device.fill(array.address, 0xFF, array.nbytes)

    def outputs(self) -> list[bytes]:
        """Fetch the outputs, and give them as bytes."""
        for position in self.reference.expected:
            self.device.download(self.arrays[position].address, self.reference.arrays[position])
        return [self.reference.arrays[position].tobytes() for position in self.reference.expected]

    def verdict(self) -> tuple[float, bool]:
        """Give the largest relative error of the outputs that were fetched last, and whether all are near enough."""
        return self.reference.verdict()

    @property
    def allowed(self) -> float:
        """Give the largest relative error that any output may have."""
        return max(self.reference.rtol.values())

    def situations(self, built: Built) -> Iterator[str]:
        """Put the device in each situation that a kernel has to be right in; a GPU has one, which nobody chooses."""
        if not isinstance(self.device, EmulatedDevice):
            yield ""
            return
        assert built.gpu is not None
        modes = MODES if Emulator().compile(built.gpu.code.source).asynchronous else MODES[:1]
        for self.device.order in ORDERS:
            for self.device.mode in modes:
                yield f" in the order {self.device.order}, {self.device.mode.name.lower()} asynchronous operations"
        self.device.order, self.device.mode = ORDERS[0], MODES[0]


def measure_on_device(placed: Placed, built: Built, best_s: float = float("inf")) -> Measured:
    """Load, check against the reference on the real shape, then time by the device's clock, each run on a cold cache.

    On an emulated device it is checked in all orders of threads and with asynchronous operations early and late; its
    time is then one of this processor.
    best_s  least time so far: a candidate far above it is timed but once
    Raises DeviceLost where the candidate breaks the device.
    """
    try:
        call = placed.bind(built)
        found = check_on_device(placed, built, call)
    except (MemoryError, Error) as error:
        return failure(built, error)
    if found.status is not Status.OK:
        return found
    return replace(found, seconds=tuple(_times(placed.device, call, best_s)))


def failure(built: Built, error: MemoryError | Error) -> Measured:
    """Give what an error means for the candidate that was loaded or run.  Raises one that broke the device again."""
    match error:
        case DeviceLost():
            raise error
        case MemoryError():
            status = Status.MEMORY
        case EmulationFault():
            status = _STATUS_OF_FAULT.get(type(error), Status.CRASH)
        case _:
            status = Status.CODEGEN
    return Measured(built.index, status, error=str(error))


def check_on_device(placed: Placed, built: Built, call: BoundLaunches) -> Measured:
    """Run a candidate in every situation: right in each, and the same bits in all."""
    first: list[bytes] = []
    worst = 0.0
    for situation in placed.situations(built):
        placed.poison()
        call()
        outputs = placed.outputs()
        error, right = placed.verdict()
        worst = max(worst, error)
        if not right:
            fact = f"largest relative error is {error:.3g}, allowed is {placed.allowed:.3g}{situation}"
            return Measured(built.index, Status.WRONG_RESULT, max_rel_error=error, error=fact)
        first = first or outputs
        if outputs != first:
            fact = f"the result depends on the order of threads: it differs{situation}"
            return Measured(built.index, Status.WRONG_RESULT, max_rel_error=error, error=fact)
    return Measured(built.index, Status.OK, max_rel_error=worst)


def _times(device: Device, call: BoundLaunches, best_s: float) -> list[float]:
    """Give the seconds of single runs, each with nothing of its data in the second-level cache."""
    if not device.is_gpu:
        return device.times_s(call.launch, 1, 1, 0)
    flush_bytes = 2 * device.limits.l2_bytes
    seconds = device.times_s(call.launch, 1, 1, flush_bytes)
    while len(seconds) < BATCHES:
        if seconds[0] > SLOW * best_s or (len(seconds) >= FEW and min(seconds) > UNLIKELY * best_s):
            break
        seconds += device.times_s(call.launch, 1, 1, flush_bytes)
    return seconds


def remeasure_on_device(placed: Placed, candidates: Sequence[Built], rounds: int, budget_s: float) -> list[Measured]:
    """Check candidates again, then time the right ones in turn: A B C A B C ...

    rounds    at most, and at least 5
    budget_s  seconds for all rounds together, as far as 5 allow
    """
    device = placed.device
    flush_bytes = 2 * device.limits.l2_bytes if device.is_gpu else 0
    calls = [placed.bind(built) for built in candidates]
    results = [check_on_device(placed, built, call) for built, call in zip(candidates, calls, strict=True)]
    samples: list[list[float]] = [[] for _ in candidates]
    began = time.perf_counter()
    for done in range(rounds if device.is_gpu else 1):
        if done >= LEAST_ROUNDS and (time.perf_counter() - began) * (done + 1) / done > budget_s:
            break
        for place, call in enumerate(calls):
            if results[place].status is Status.OK:
                samples[place] += device.times_s(call.launch, 1, 1, flush_bytes)
    return [replace(result, seconds=tuple(times)) for result, times in zip(results, samples, strict=True)]
