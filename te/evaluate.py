"""Direct evaluation of tensor expressions in NumPy: the meaning that every schedule and backend is checked against.

It knows nothing of schedules, loop nests and code generation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..ir import expr as e
from ..ir.errors import ArgumentError, ExpressionError
from ..ir.stmt import Function
from ..ir.visit import variables
from .arguments import listed
from .axis import Axis
from .extern import buffer_like
from .grid import Box, Grid, Held, Kept
from .machine import Array, Machine, array_dtype
from .nodes import Reduce
from .operation import ComputeOp, ExternOp, Operation, PlaceholderOp, ScanOp
from .reduction import Reduction, results_at_once
from .tensor import Tensor

Feeds = Mapping[Any, Array]  # from a placeholder's tensor, operator or name
Sizes = Mapping[Any, int | float]  # from a variable or its name
Interpreter = Callable[[Function, Sequence[Array]], None]
Boxes = Mapping[Operation, Box]
BLOCK = 1 << 15  # elements that are found at once: the temporaries stay in the caches
_NOTHING: Mapping[str, Callable[..., Any]] = {}
_EVERYTHING: Boxes = {}


def evaluate(
    outputs: Tensor | Sequence[Tensor],
    feeds: Feeds,
    sizes: Sizes | None = None,
    *,
    accumulate: Literal["declared", "float64"] = "declared",
    externs: Mapping[str, Callable[..., Any]] = _NOTHING,
    interpret: Interpreter | None = None,
    boxes: Boxes = _EVERYTHING,
) -> list[Array]:
    """Give the values of `outputs`, one array each; bfloat16 as uint16 bits, int4 as int8, one element each.

    feeds       an array for each placeholder, by tensor, operator or name
    sizes       values of variables that no fed array's shape tells, by variable or name
    accumulate  "float64" computes and keeps float32 as float64 up to the last rounding, as a reference for errors
    externs     functions of NumPy arrays for calls that are no intrinsics; for an extern operator of that name, a
                function of its inputs that gives its results
    interpret   runs an extern operator's statements: `codegen.interp.interpret`
    boxes       the elements that are computed, by operator, as `sample.needed` gives them: all of those that are not
                in it.  An output has only these, at the crossings of their positions
    Raises ArgumentError for arrays that do not fit, ExpressionError for a read out of bounds and an unbound variable.
    """
    wanted = listed(outputs)
    order = operations(wanted)
    run = _Evaluation(Machine(accumulate == "float64"), externs, interpret, boxes)
    with np.errstate(all="ignore"):
        run.feed(order, feeds, sizes or {})
        within_scans = {inner for op in order for inner in within_scan(op)}
        for op in order:
            if op not in within_scans:
                run.compute(op)
        return [run.machine.store(run.tensor(t), t.dtype) for t in wanted]


def operations(outputs: Sequence[Tensor]) -> list[Operation]:
    """Give the operators that `outputs` need, producers first, each once."""
    order: dict[Operation, None] = {}
    stack: list[tuple[Operation, bool]] = [(t.op, False) for t in reversed(outputs)]
    while stack:
        op, ready = stack.pop()
        if op in order:
            continue
        if ready:
            order[op] = None
            continue
        stack.append((op, True))
        stack.extend((t.op, False) for t in reversed(op.inputs) if t.op not in order)
    return list(order)


@dataclass(slots=True)
class _Evaluation:
    """The values so far: those of computed tensors in working types."""

    machine: Machine
    externs: Mapping[str, Callable[..., Any]]
    interpret: Interpreter | None
    boxes: Boxes
    sizes: dict[e.Var, int | float] = field(default_factory=dict)
    arrays: dict[tuple[Operation, int], Array] = field(default_factory=dict)
    given: set[Operation] = field(default_factory=set)  # whose arrays are the caller's

    def tensor(self, tensor: Tensor) -> Array:
        """Give a tensor's values, in working types."""
        array = self.arrays[tensor.op, tensor.component]
        return self.machine.load(array, tensor.dtype) if tensor.op in self.given else array

    def held(self, tensor: Tensor) -> Held:
        """Give the values of a tensor that are there."""
        array = self.arrays[tensor.op, tensor.component]
        given, box = tensor.op in self.given, self.boxes.get(tensor.op)
        return Held(array, tuple(map(Kept, array.shape)) if box is None or given else box, given)

    def feed(self, order: list[Operation], feeds: Feeds, sizes: Sizes) -> None:
        """Take the caller's arrays, and the sizes that their shapes tell."""
        given = {getattr(k, "op", k): np.asarray(v) for k, v in feeds.items()}  # by operator or name
        arrays: dict[PlaceholderOp, Array] = {}
        for op in order:
            match op:
                case PlaceholderOp(name) if op in given or name in given:
                    arrays[op] = given[op if op in given else name]
        for var in _variables(order):
            if var in sizes or var.name in sizes:
                self.sizes[var] = sizes[var] if var in sizes else sizes[var.name]
        for op, array in arrays.items():
            for dim, extent in zip(op.shape, array.shape, strict=False):
                match dim:
                    case e.Var():
                        self.sizes.setdefault(dim, extent)
        for op, array in arrays.items():
            self.arrays[op, 0] = self._checked(op, array)
            self.given.add(op)

    def _checked(self, op: PlaceholderOp, array: Array) -> Array:
        """Give the array in the type that holds `op.dtype`, refused where it does not fit."""
        shape = self.shape(op.shape)
        if array.shape != shape:
            fact = f"{op.name} has shape {shape}, the array has {array.shape}"
            raise ArgumentError("evaluate", fact, advice="an array of the placeholder's shape")
        expected = array_dtype(op.dtype)
        if array.dtype.name == str(op.dtype) and array.dtype != expected:  # an extension type of the same name
            return array.view(expected) if op.dtype.bits == 16 else array.astype(expected)
        if array.dtype != expected:
            fact = f"{op.name} is {op.dtype}, the array is {array.dtype}"
            raise ArgumentError("evaluate", fact, advice=f"an array of {expected}")
        return array

    def shape(self, dims: Sequence[e.Expr]) -> tuple[int, ...]:
        """Give extents as numbers."""
        grid = self.grid(0, self.sizes)
        return tuple(map(grid.number, dims))

    def grid(self, ndim: int, env: Mapping[e.Var, Any]) -> Grid:
        """Give a grid of so many dimensions for expressions to be evaluated on."""
        return Grid(ndim, env, self.machine, self.held, self.externs)

    def compute(self, op: Operation) -> None:
        """Find the values of an operator's results."""
        match op:
            case PlaceholderOp():
                if (op, 0) not in self.arrays:
                    fact = f"no array for the placeholder {op.name}"
                    raise ArgumentError("evaluate", fact, advice="feeds={tensor: array}, one for each placeholder")
            case ComputeOp():
                self.arrays |= {(op, i): value for i, value in enumerate(self.elements(op))}
            case ScanOp():
                self.recur(op)
            case ExternOp():
                self.arrays |= {(op, i): value for i, value in enumerate(self.external(op))}

    def elements(self, op: ComputeOp, step: int | None = None) -> list[Array]:
        """Give all elements of a compute's results, or those at `step` of the first dimension."""
        env: dict[e.Var, Any] = dict(self.sizes)
        axes = op.axes
        if step is not None:
            env[axes[0].var] = step
            axes = axes[1:]
        box = self.boxes.get(op) or tuple(map(Kept, self.shape([a.extent for a in axes])))
        full = [np.empty([kept.count for kept in box], self.machine.working(x.dtype)) for x in op.body]
        room = BLOCK if op.reduction is None else self.room(op.reduction, op.axes)
        for place, part in blocks(box, room):
            points = {a.var: kept.axis(d) for d, (a, kept) in enumerate(zip(axes, part, strict=True))}
            for array, value, x in zip(full, self.block(op, part, env | points), op.body, strict=True):
                array[place] = self.machine.kept(np.asarray(value), x.dtype)
        return full

    def room(self, reduce: Reduce, axes: Sequence[Axis]) -> float:
        """Give how many results of a reduction are found at once."""
        terms = math.prod(self.shape([axis.extent for axis in reduce.axes]))
        return results_at_once(reduce, [axis.var for axis in axes], terms, self.machine)

    def block(self, op: ComputeOp, box: Box, env: Mapping[e.Var, Any]) -> list[Array]:
        """Give the values of a compute's results at some of its elements."""
        if op.reduction is not None:
            extents = tuple(kept.count for kept in box)
            return Reduction(op.reduction, extents, env, self.grid, self.machine).values()
        grid = self.grid(len(box), env)
        return [grid.value(x) for x in op.body]

    def recur(self, op: ScanOp) -> None:
        """Find the values of a scan, step by step."""
        for i, (state, init) in enumerate(zip(op.state, op.init, strict=True)):
            values = np.zeros(self.shape(state.shape), self.machine.working(state.dtype))
            values[: len(self.tensor(init))] = self.tensor(init)
            self.arrays[op, i] = self.arrays[state.op, state.component] = values
        inside = dependent(op)
        for inner in inside:
            for i, (shape, dtype) in enumerate(inner.results):
                self.arrays[inner, i] = np.zeros(self.shape(shape), self.machine.working(dtype))
        start, extent = self.shape([op.scan_axis.start, op.scan_axis.extent])
        for step in range(start, start + extent):
            for inner in inside:
                for i, value in enumerate(self.elements(inner, step)):
                    self.arrays[inner, i][step] = value
            for i, update in enumerate(op.update):
                self.arrays[op, i][step] = self.tensor(update)[step]

    def external(self, op: ExternOp) -> list[Array]:
        """Give the results of an extern operator: by its function among `externs`, or by its statements."""
        inputs = [self.machine.store(self.tensor(t), t.dtype) for t in op.reads]
        function = self.externs.get(op.name)
        if function is not None:
            given = function(*inputs)
            arrays = listed(given)
        elif self.interpret is not None:
            arrays = [np.zeros(self.shape(shape), array_dtype(dtype)) for shape, dtype in op.shapes]
            ins = tuple(buffer_like(t) for t in op.reads)
            outs = tuple(buffer_like(op.output(i)) for i in range(op.num_outputs))
            self.interpret(Function(op.name, (*ins, *outs), op.body(ins, outs), outs), [*inputs, *arrays])
        else:
            fact = f"the operator {op.name} is given by statements"
            raise ExpressionError(
                "evaluate", fact, advice="interpret=codegen.interp.interpret, or a function in externs"
            )
        return [self.machine.load(a, dtype) for a, (_, dtype) in zip(arrays, op.shapes, strict=True)]


def blocks(box: Box, room: float) -> Iterator[tuple[tuple[slice, ...], Box]]:
    """Give parts of a box of at most `room` elements, in order, with their places in an array of its elements."""
    pieces: list[list[tuple[slice, Kept]]] = []  # per dimension, innermost first
    for kept in reversed(box):
        size = max(1, int(min(kept.count, room)))
        room = room // size if size == kept.count else 1
        pieces.append([kept.part(at, min(at + size, kept.count)) for at in range(0, kept.count, size)])
    for chosen in itertools.product(*reversed(pieces)):
        yield tuple(place for place, _ in chosen), tuple(part for _, part in chosen)


def dependent(scan: ScanOp) -> list[ComputeOp]:
    """Give the computes between a scan's states and its updates, producers first."""
    states, updates = {s.op for s in scan.state}, {u.op for u in scan.update}
    found: dict[ComputeOp, None] = {}
    for op in operations(scan.update):
        if op in updates or any(t.op in states or t.op in found for t in op.inputs):
            match op:
                case ComputeOp():
                    found[op] = None
                case _:
                    fact = f"{op.name} depends on its state"
                    raise ExpressionError(scan.name, fact, advice="computes only, within a scan")
    return list(found)


def within_scan(op: Operation) -> set[Operation]:
    """Give the operators that only have values within `op`: of a scan, its states, its updates and all between."""
    match op:
        case ScanOp(state=states):
            return {s.op for s in states} | set(dependent(op))
        case _:
            return set()


def _variables(order: Sequence[Operation]) -> set[e.Var]:
    """Give the variables of all shapes and bodies."""
    roots: list[e.Expr] = []
    for op in order:
        roots += [dim for shape, _ in op.results for dim in shape]
        roots += [bound for axis in op.reduce_axis for bound in (axis.start, axis.extent)]
        match op:
            case ComputeOp(body=body):
                roots += body
    return {var for root in roots for var in variables(root)}
