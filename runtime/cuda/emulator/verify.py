"""One launch under all orders and modes: no fault in any of them, and one result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....codegen.cuda.source import Launch, Triple
from ....ir.errors import RaceFault
from .image import Argument, EmulatedImage
from .orders import MODES, ORDERS, Mode, Order
from .tensor_map import Tiled


def verify(
    image: EmulatedImage,
    launch: Launch,
    arguments: Sequence[Argument],
    grid: Triple,
    outputs: Sequence[str],
    orders: Sequence[Order] = ORDERS,
    modes: Sequence[Mode] = MODES,
) -> tuple[np.ndarray, ...]:
    """Run a launch once for each order and mode, each time on fresh outputs, and give the outputs.

    arguments  as `EmulatedImage.run` takes them; no array is changed
    outputs    names of the parameters whose arrays the kernel writes
    One mode is enough for kernels without asynchronous operations.
    Raises EmulationFault for what a run got wrong, RaceFault where two runs give different values.
    """
    first: tuple[np.ndarray, ...] | None = None
    for order in orders:
        for mode in modes if image.asynchronous else modes[:1]:
            copies = [_copied(argument) for argument in arguments]
            image.run(launch, copies, grid, order=order, mode=mode, outputs=outputs)
            results = tuple(
                _array(copy) for param, copy in zip(launch.params, copies, strict=True) if param.name in outputs
            )
            if first is None:
                first = results
            _require_equal(first, results, launch, f"{order}, {mode.name.lower()}")
    assert first is not None, "no order or no mode"
    return first


def _copied(argument: Argument) -> Argument:
    match argument:
        case np.ndarray():
            return argument.copy()
        case Tiled(array, box, swizzle):
            return Tiled(array.copy(), box, swizzle)
        case _:
            return argument


def _array(argument: Argument) -> np.ndarray:
    match argument:
        case np.ndarray():
            return argument
        case Tiled(array=array):
            return array
    raise AssertionError(f"an output is {argument!r}, no array")


def _require_equal(first: Sequence[np.ndarray], other: Sequence[np.ndarray], launch: Launch, how: str) -> None:
    for a, b in zip(first, other, strict=True):
        if a.tobytes() != b.tobytes():
            differing = int((a.view(np.uint8) != b.view(np.uint8)).sum())
            raise RaceFault(
                "emulate",
                f"{differing} of {a.nbytes} bytes of a result of {launch.name} depend on the order of threads ({how})",
                advice="an order between the accesses, or no operation whose result depends on one",
            )
