"""Launches under all orders and modes: no fault in any of them, and one result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ....codegen.cuda.source import CudaSource, Launch, Triple
from ....ir.errors import RaceFault
from ....ir.expr import Var
from ....ir.parser import parse_expr
from ...signature import evaluate_extent, extent_of
from .image import Argument, EmulatedImage
from .orders import MODES, ORDERS, Mode, Order
from .tensor_map import Tiled


def verify_all(
    image: EmulatedImage,
    source: CudaSource,
    arguments: Mapping[str, np.ndarray | int | float],
    outputs: Collection[str],
) -> dict[str, np.ndarray]:
    """Run the launches of a source in order, each as `verify` does, and give the outputs by name.

    image      of the source, or of a longer text that it is a part of
    arguments  by name, an array for each buffer and a number for each scalar; no array is changed
    outputs    names of the arrays that the launches write; nobody reads what they hold before
    Raises as `verify` does.
    """
    sizes = {name: value for name, value in arguments.items() if isinstance(value, int)}
    held: dict[str, Argument] = dict(arguments)
    for workspace in source.workspaces:
        held[workspace.name] = np.empty(_extent(workspace.bytes, sizes), np.uint8)
    fresh = {*outputs, *(w.name for w in source.workspaces)}
    maps = {described.name: described for described in source.tensor_maps}
    buffer_of = {name: described.buffer for name, described in maps.items()}
    for launch in source.launches:
        grid = _extent(launch.grid[0], sizes), _extent(launch.grid[1], sizes), _extent(launch.grid[2], sizes)
        if 0 in grid:
            continue
        for name, described in maps.items():
            held[name] = Tiled(_array(held[described.buffer]), described.box[::-1], described.swizzle)
        stored = {name for name, buffer in buffer_of.items() if buffer in outputs}  # only by bulk copies from there
        written = [p.name for p in launch.params if p.name in image.written(launch) | stored]
        given = [held[p.name] for p in launch.params]
        unread = fresh | {name for name in stored if buffer_of[name] in fresh}
        results = verify(image, launch, given, grid, written, fresh=unread)
        written = [buffer_of.get(name, name) for name in written]
        held |= dict(zip(written, results, strict=True))
        fresh.difference_update(written)
    return {name: _array(held[name]) for name in outputs}


def _extent(text: str, sizes: Mapping[str, int]) -> int:
    """Give the value of an integer expression of a source."""
    return evaluate_extent(extent_of(parse_expr(text, {name: Var(name, minimum=0) for name in sizes})), sizes)


def verify(
    image: EmulatedImage,
    launch: Launch,
    arguments: Sequence[Argument],
    grid: Triple,
    outputs: Sequence[str],
    orders: Sequence[Order] = ORDERS,
    modes: Sequence[Mode] = MODES,
    fresh: Collection[str] | None = None,
) -> tuple[np.ndarray, ...]:
    """Run a launch once for each order and mode, each time on fresh outputs, and give the outputs.

    arguments  as `EmulatedImage.run` takes them; no array is changed
    outputs    names of the parameters whose arrays the kernel writes
    fresh      names of those of which it may read nothing that it has not written; all of them, if not given
    One mode is enough for kernels without asynchronous operations.
    Raises EmulationFault for what a run got wrong, RaceFault where two runs give different values.
    """
    first: tuple[np.ndarray, ...] | None = None
    for order in orders:
        for mode in modes if image.asynchronous else modes[:1]:
            copies = [_copied(argument) for argument in arguments]
            image.run(launch, copies, grid, order=order, mode=mode, outputs=outputs if fresh is None else fresh)
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
