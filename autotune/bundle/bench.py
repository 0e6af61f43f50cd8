"""One task on a device: its inputs, its right answer, and the times of candidates and of the vendor's call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Any

from ...ir.errors import DeviceLost, Error
from ...runtime.cuda.array import DeviceArray, to_device
from ...runtime.cuda.device import Device
from ...runtime.cuda.kernel import BoundLaunches, CudaKernel
from ...te.tensor import Tensor
from ..built import Built
from ..reference import Reference, make_arrays, make_reference
from ..run_cuda import Placed, check_on_device, failure
from ..runner import FEW, SLOW, UNLIKELY, Measured
from ..task import create
from ..trial import Status
from .format import About
from .vendor import VendorTimer, as_torch, find_torch, prepare, use_full_precision

HOST_FLOP, HOST_BYTES = 1e9, 64e6  # what has more of either is evaluated on the GPU, where PyTorch is there
MOST_SETS = 32  # of arrays that are used in turn
BATCH_S = 1e-3  # seconds that a batch takes at least
BATCHES = 7
LEAST_ROUNDS = 5
_TORCH_ERRORS = (LookupError, RuntimeError, TypeError, AssertionError, NotImplementedError)  # whatever it refuses by


@dataclass(frozen=True, slots=True)
class VendorTimes:
    """What the vendor's call took beside the candidates.

    error  why there are no times
    """

    library: str = ""
    seconds: tuple[float, ...] = ()
    error: str = ""

    @property
    def median_s(self) -> float | None:
        """Give the median, None without times."""
        return median(self.seconds) if self.seconds else None


class TorchPlaced(Placed):
    """Inputs on a GPU, and the right answer there: the vendor's call in float64, compared where it lies."""

    def __init__(self, device: Device, about: About, tensors: Sequence[Tensor], torch: Any) -> None:
        """Compute the answer.  Raises LookupError where PyTorch has no such operator."""
        self._torch, self._rtol = torch, dict(about.rtol)
        ((position, self._allowed),) = about.rtol
        dtypes = {position: tensors[position].dtype}
        expected: Any = {position: None}  # it lies on the GPU
        super().__init__(device, Reference(make_arrays(tensors, about.seed), expected, self._rtol, dtypes))
        views = [as_torch(torch, a, str(t.dtype)) for a, t in zip(self.arrays, tensors, strict=True)]
        self._output = views[position]
        inputs = [view.double() for place, view in enumerate(views) if place != position]
        call = prepare(torch, about.name, about.args, inputs)
        self._expected = call.laid_out(call.run()).contiguous()
        if not self._output.dtype.is_floating_point:  # sums of integers are exact in float64, and wrap as ours do
            whole = self._expected.round() if self._expected.dtype.is_floating_point else self._expected
            self._expected = whole.to(torch.int64).to(self._output.dtype)
        torch.cuda.synchronize()

    def outputs(self) -> list[bytes]:
        """Wait for the outputs; they stay where they are."""
        self.device.synchronize()
        return []

    def verdict(self) -> tuple[float, bool]:
        """Give the largest relative error, and whether it is small enough."""
        torch = self._torch
        if not self._output.dtype.is_floating_point:
            right = bool(torch.equal(self._output, self._expected))
            return (0.0 if right else float("inf")), right
        found, expected = self._output.double(), self._expected
        finite = expected.isfinite()
        if not bool(finite.all()):
            if not torch.allclose(found[~finite], expected[~finite], equal_nan=True):
                return float("inf"), False
            found, expected = found[finite], expected[finite]
        scale = torch.maximum(expected.abs(), expected.square().mean().sqrt())
        error = float(torch.where(found == expected, 0.0, (found - expected).abs() / scale).amax())
        return (error, error <= self._allowed) if error == error else (float("inf"), False)


class Bench:
    """A task's arrays on a device, several sets of them where one would stay in the cache between calls.

    origin  where the right answer is from
    """

    def __init__(self, device: Device, about: About) -> None:
        """Make arrays and the right answer."""
        self.device, self.about = device, about
        self._torch = find_torch() if device.is_gpu else None
        self._tensors = create(about.name, about.args, about.key.target, device="emulate").tensors
        if self._torch is not None:
            use_full_precision(self._torch)
        self.placed, self.origin = self._placed()
        spread = ceil(2 * device.limits.l2_bytes / max(1, about.bytes)) if device.is_gpu else 1
        copies = [self._copy() for _ in range(min(spread, MOST_SETS) - 1)]
        self._sets: list[tuple[DeviceArray, ...]] = [self.placed.arrays, *copies]
        self._vendor: VendorTimer | None = None

    def _placed(self) -> tuple[Placed, str]:
        large = self.about.flop > HOST_FLOP or self.about.bytes > HOST_BYTES
        if self._torch is not None and large and len(self.about.rtol) == 1:
            try:
                return TorchPlaced(self.device, self.about, self._tensors, self._torch), "PyTorch in float64 on the GPU"
            except _TORCH_ERRORS:  # no such operator there, or not in float64
                pass
        return Placed(self.device, make_reference(self._tensors, self.about.seed)), "direct evaluation in float64"

    def _copy(self) -> tuple[DeviceArray, ...]:
        return tuple(to_device(array, self.device) for array in self.placed.reference.arrays)

    def candidate(self, built: Built, best_s: float) -> Measured:
        """Load a candidate, check it, then time it, the less often the farther it is from the best so far."""
        try:
            calls = self._bind(built)
            found = check_on_device(self.placed, built, calls[0])
        except (MemoryError, Error) as error:
            return failure(built, error)
        if found.status is not Status.OK:
            return found
        return replace(found, seconds=tuple(self._times(calls, best_s)))

    def _bind(self, built: Built) -> list[BoundLaunches]:
        assert built.gpu is not None, "the candidate was built for a processor"
        kernel = CudaKernel(built.gpu.signature, built.gpu.code, self.device)
        return [kernel.bind(*arrays) for arrays in self._sets]

    def _times(self, calls: Sequence[BoundLaunches], best_s: float) -> list[float]:
        batch = self._batch(calls)
        seconds = [batch(1)]
        if not self.device.is_gpu or seconds[0] > SLOW * best_s:
            return seconds
        number = self._number(seconds[0])
        seconds = []
        while len(seconds) < BATCHES:
            seconds.append(batch(number))
            if len(seconds) >= FEW and min(seconds) > UNLIKELY * best_s:
                break
        return seconds

    def _batch(self, calls: Sequence[BoundLaunches]) -> Callable[[int], float]:
        """Give a function that runs all calls in turn some times, and gives the mean seconds of one."""

        def run() -> None:
            for call in calls:
                call.launch()

        return lambda number: self.device.times_s(run, number, 1, 0)[0] / len(calls)

    def _number(self, seconds: float) -> int:
        return max(1, ceil(BATCH_S / max(seconds * len(self._sets), 1e-7)))

    # -- the vendor's call --------------------------------------------------------------------------------------

    def vendor(self, batches: int = FEW) -> VendorTimes:
        """Time the vendor's call on the same arrays."""
        try:
            timer = self._timer()
            return VendorTimes(timer.library, tuple(timer.seconds() for _ in range(batches)))
        except DeviceLost:
            raise
        except _TORCH_ERRORS as error:
            return VendorTimes(error=str(error).splitlines()[0] if str(error) else type(error).__name__)

    def _timer(self) -> VendorTimer:
        if self._torch is None:
            raise LookupError(
                "PyTorch is not installed" if self.device.is_gpu else "an emulation is compared with none"
            )
        if self._vendor is None:
            calls = [prepare(self._torch, self.about.name, self.about.args, self._inputs(s)) for s in self._sets]
            once_s = VendorTimer(self._torch, calls).seconds()
            self._vendor = VendorTimer(self._torch, calls, self._number(once_s))
        return self._vendor

    def _inputs(self, arrays: Sequence[DeviceArray]) -> list[Any]:
        outputs = dict(self.about.rtol)
        pairs = zip(arrays, self._tensors, strict=True)
        views = [as_torch(self._torch, array, str(tensor.dtype)) for array, tensor in pairs]
        return [view for place, view in enumerate(views) if place not in outputs]

    # -- the best of them ---------------------------------------------------------------------------------------

    def final(self, candidates: Sequence[Built], rounds: int, budget_s: float) -> tuple[list[Measured], VendorTimes]:
        """Check candidates again, then time them and the vendor's call in turn: A B vendor A B vendor ..."""
        bound = [self._bind(built) for built in candidates]
        pairs = zip(candidates, bound, strict=True)
        results = [check_on_device(self.placed, built, calls[0]) for built, calls in pairs]
        batches = [self._batch(calls) for calls in bound]
        numbers = [self._number(batch(1)) for batch in batches]
        vendor = self.vendor(1)
        samples: list[list[float]] = [[] for _ in candidates]
        vendors: list[float] = []
        began = time.perf_counter()
        for done in range(rounds):
            if done >= LEAST_ROUNDS and time.perf_counter() - began > budget_s:
                break
            for place, batch in enumerate(batches):
                samples[place].append(batch(numbers[place]))
            if vendor.seconds:
                vendors.append(self._timer().seconds())
        timed = [replace(m, seconds=tuple(s)) for m, s in zip(results, samples, strict=True)]
        return timed, replace(vendor, seconds=tuple(vendors))
