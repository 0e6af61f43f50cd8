"""Bulk copies: loops that fill shared memory with a box of a tensor, as the copies of the TMA unit that do the same.

The unit copies boxes: up to 256 elements along each dimension, rows of a multiple of 16 bytes, into shared memory as
dense rows, whose 16-byte pieces it can swizzle.  What lies outside of the tensor arrives as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ....ir import arith
from ....ir.affine import affine_of
from ....ir.buffer import Buffer
from ....ir.dtype import uint64
from ....ir.errors import CodegenError
from ....ir.expr import And, Const, Expr, IfThenElse, Load, Select, Var
from ....ir.interval import Ranges, prove
from ....ir.simplify import simplify
from ....ir.stmt import For, ForKind, Stmt, Store
from ....ir.visit import substitute, variables
from ...passes.names import Names
from ..kernel import TENSOR_MAP, THREAD_VARS, BoxMap
from .offsets import COPY_ALIGN, SPANS, Grid, at, byte_offsets, grid, repeat_bytes, swizzled, values_at

STEP_BYTES = 16  # of rows, and of the strides of a tensor
MOST_BOX = 256  # elements along one dimension of a box
RANKS = range(2, 5)
MOST_ELEMENTS = 1 << 16  # of one tile, whose places are all checked
NO_COPY = ("a bulk copy moves the elements of a tensor as they are", "a plain copy of a tensor")
PLAIN = (ForKind.SERIAL, ForKind.UNROLLED, ForKind.VECTORIZED)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """One bulk copy.

    to           the element of shared memory that it begins at
    coordinates  of the box' first element in the tensor, which may be outside
    tile         what it is a panel of, from `column` on
    """

    described: BoxMap
    buffer: Buffer
    to: tuple[Expr, ...]
    coordinates: tuple[Expr, ...]
    tile: _Tile
    column: int

    @property
    def bytes(self) -> int:
        """Give the bytes that arrive, zeros included."""
        return prod(self.described.box) * self.buffer.dtype.bytes


@dataclass(slots=True)
class Boxes:
    """Finds the bulk copies that copy loops are, and keeps the tensor maps that they need.

    ranges  of all variables around the copies
    """

    ranges: Ranges
    names: Names
    maps: list[BoxMap] = field(default_factory=list)

    def of(self, nest: Stmt) -> list[Box]:
        """Give the bulk copies that do what a copy nest does.  Raises CodegenError where there are none."""
        tile = _tile_of(nest)
        source, shape = tile.load.buffer, tile.shape
        for span in (*SPANS, 0):
            width = span // source.dtype.bytes or shape[-1]
            if shape[-1] % width == 0 and tile.lies_as(span, width):
                self.check(tile, (*shape[:-1], width))
                return self.panels(tile, span, width)
        fact = f"{tile.store.buffer.name} keeps a tile of {_listing(shape)} of {source.name} in an order of its own"
        raise _refusal(nest, fact, 'swizzle "32B", "64B", "128B", or none')

    def check(self, tile: _Tile, box: tuple[int, ...]) -> None:
        """Refuse what no tensor map can describe, with the figures."""
        source, nest, size = tile.load.buffer, tile.nest, tile.load.buffer.dtype.bytes
        if len(box) not in RANKS:
            fact = f"{source.name} has {len(box)} dimensions, and bulk copies are of {RANKS[0]} to {RANKS[-1]}"
            raise _refusal(nest, fact, 'transport="cp_async"')
        if max(box) > MOST_BOX:
            fact = f"a box of {_listing(box)} of {source.name}, and no side may be longer than {MOST_BOX}"
            raise _refusal(nest, fact, "a smaller tile")
        if box[-1] * size % STEP_BYTES:
            fact = f"rows of {box[-1]} elements of {source.name}: {box[-1] * size} bytes, no multiple of {STEP_BYTES}"
            raise _refusal(nest, fact, f"tiles of multiples of {STEP_BYTES // size} columns")
        kept = tile.kept_bytes
        if kept % COPY_ALIGN:
            name = tile.store.buffer.name
            fact = f"{name} keeps tiles of {kept} bytes, and copies begin at multiples of {COPY_ALIGN}"
            raise _refusal(nest, fact, "align_bounds, for larger tiles")
        for d, stride in enumerate(source.dense_strides[:-1]):
            bytes_apart = arith.mul(stride, size)
            if not prove(arith.eq(arith.floormod(bytes_apart, STEP_BYTES), 0), self.ranges):
                fact = (
                    f"neighbours along dimension {d} of {source.name} are {simplify(bytes_apart)} bytes apart, "
                    f"which bulk copies need to be a multiple of {STEP_BYTES}"
                )
                raise _refusal(nest, fact, 'a padded tensor, or transport="cp_async"')
        tile.check_fill(self.ranges)

    def panels(self, tile: _Tile, span: int, width: int) -> list[Box]:
        """Give a copy for each panel of `width` columns."""
        box = (*tile.shape[:-1], width)
        described = self.described(tile.load.buffer, box, span)
        found: list[Box] = []
        for first in range(0, tile.shape[-1], width):
            to = tuple(simplify(i, self.ranges) for i in tile.place_of(first))
            last = arith.add(tile.base[-1], first)
            coordinates = tuple(simplify(c, self.ranges) for c in (*tile.base[:-1], last))
            found.append(Box(described, tile.store.buffer, to, coordinates, tile, first))
        return found

    def part(self, box: Box, parts: int, number: Expr) -> Box | None:
        """Give one of several parts of a copy along its first dimension of more than one element, None for no box."""
        whole = box.described
        d = next(n for n, size in enumerate(whole.box) if size > 1)
        size = whole.box[d] // parts
        rows = prod(whole.box[d:-1]) // parts
        if d == len(whole.box) - 1 or whole.box[d] % parts or rows * whole.swizzle % repeat_bytes(whole.swizzle):
            return None
        row_elements = prod(box.tile.shape[d + 1 :])
        second = box.tile.place_of(box.column + size * row_elements)
        steps = [arith.sub(b, a) for a, b in zip(box.tile.place_of(box.column), second, strict=True)]
        to = (arith.add(a, arith.mul(number, simplify(s))) for a, s in zip(box.to, steps, strict=True))
        coordinates = list(box.coordinates)
        coordinates[d] = arith.add(coordinates[d], arith.mul(number, size))
        described = self.described(whole.buffer, (*whole.box[:d], size, *whole.box[d + 1 :]), whole.swizzle)
        return Box(described, box.buffer, tuple(to), tuple(coordinates), box.tile, box.column)

    def described(self, source: Buffer, box: tuple[int, ...], span: int) -> BoxMap:
        """Give the tensor map, the same for equal boxes."""
        for known in self.maps:
            if known.buffer is source and known.box == box and known.swizzle == span:
                return known
        handle = Buffer(self.names.fresh(f"{source.name}_map"), (), uint64, TENSOR_MAP)
        self.maps.append(BoxMap(handle, source, box, span))
        return self.maps[-1]


# -- copy loops -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """What a copy nest copies: store[..] = load[base + (a point of shape)], or 0 outside of the tensor.

    base    index of the first element in the tensor
    shape   elements along each of the tensor's dimensions
    points  values of the loops for each element
    order   the element's number in the tile, row-major, for each point
    """

    nest: Stmt
    store: Store
    load: Load
    condition: Expr | None
    base: tuple[Expr, ...]
    shape: tuple[int, ...]
    points: Grid
    order: np.ndarray

    def place_of(self, element: int) -> tuple[Expr, ...]:
        """Give the place in shared memory of an element, by its number in the tile."""
        (number,) = np.flatnonzero(self.order == element)
        values = {var: int(axis[number]) for var, axis in self.points.items()}
        return tuple(substitute(i, at(values)) for i in self.store.indices)

    def lies_as(self, span: int, width: int) -> bool:
        """Tell whether shared memory holds the tile as copies of panels of `width` columns leave it."""
        size = self.store.buffer.dtype.bytes
        row, column = self.order // self.shape[-1], self.order % self.shape[-1]
        actual = byte_offsets(self.store.buffer, self.inner_indices(), self.points)
        starts = np.zeros(self.shape[-1] // width, np.int64)  # of the panels
        firsts = (row == 0) & (column % width == 0)
        starts[column[firsts] // width] = actual[firsts]
        if np.any(starts % repeat_bytes(span)) or (span and self.store.buffer.align % repeat_bytes(span)):
            return False  # unswizzled tiles are aligned by the layout of shared memory
        return np.array_equal(actual, starts[column // width] + swizzled((row * width + column % width) * size, span))

    @property
    def kept_bytes(self) -> int:
        """Give the bytes between one tile in shared memory and the next."""
        buffer = self.store.buffer
        own = [n for n, i in zip(buffer.shape, self.store.indices, strict=True) if variables(i) & self.points.keys()]
        return prod(arith.int_value(n) or 1 for n in own) * buffer.dtype.bytes

    def inner_indices(self) -> tuple[Expr, ...]:
        """Give the indices in shared memory without those that pick the tile."""
        return tuple(i if variables(i) & self.points.keys() else Const(0) for i in self.store.indices)

    def check_fill(self, ranges: Ranges) -> None:
        """Refuse a fill with zeros anywhere but outside of the tensor."""
        inside = [
            bound
            for index, size in zip(self.load.indices, self.load.buffer.shape, strict=True)
            for bound in (arith.le(0, index), arith.lt(index, size))
        ]
        for part in _conjuncts(self.condition):
            if not prove(part, ranges, inside):
                fact = f"{self.store.buffer.name} becomes 0 where not {part}, and bulk copies fill only what is outside"
                raise _refusal(self.nest, fact, f"a condition that {self.load.buffer.name} has an element there")


def _tile_of(nest: Stmt) -> _Tile:
    loops: dict[Var, int] = {}
    stmt = nest
    while type(stmt) is For:
        extent = arith.int_value(stmt.extent)
        if extent is None or stmt.kind not in PLAIN:
            raise _refusal(nest, f"loop {stmt.var.name} of {stmt.extent} is {stmt.kind.value}", "plain constant loops")
        loops[stmt.var] = extent
        stmt = stmt.body
    match stmt:
        case Store(value=Load(buffer) as load) as store if buffer.scope == "global":
            condition = None
        case Store(value=(IfThenElse() | Select()) as choice) as store if _is_zero(choice.otherwise):
            condition, load = choice.condition, choice.then
        case _:
            raise _refusal(nest, *NO_COPY)
    if type(load) is not Load or load.buffer.scope != "global" or load.dtype != store.buffer.dtype or not loops:
        raise _refusal(nest, *NO_COPY)
    if prod(loops.values()) > MOST_ELEMENTS:
        raise _refusal(nest, f"a tile of {prod(loops.values())} elements", f"at most {MOST_ELEMENTS}")
    return _measured(nest, store, load, condition, loops)


def _measured(nest: Stmt, store: Store, load: Load, condition: Expr | None, loops: dict[Var, int]) -> _Tile:
    """Find the box that the loops cover: its first element, its size along each dimension, the order of elements."""
    for thread in THREAD_VARS:
        if thread in variables(store):
            fact = f"the threads along {thread.name} share the copy to {store.buffer.name}, which one thread issues"
            raise _refusal(nest, fact, f"leave the loops of {store.buffer.name} unbound")
    load = _unfolded(load, loops)
    zeros: dict[Var, Expr] = dict.fromkeys(loops, Const(0))
    base = tuple(substitute(i, zeros) for i in load.indices)
    points = grid(loops)
    shape: list[int] = []
    order = np.zeros(1, np.int64)
    for index, first in zip(load.indices, base, strict=True):
        form = affine_of(index) - affine_of(first)
        if not form.vars <= loops.keys():
            raise _refusal(nest, f"the loops do not cover a box: {load.buffer.name} is read at {index}", "plain loops")
        values = values_at(form.to_expr(), points)
        if int(values.min()) < 0:
            raise _refusal(nest, f"the loops run backwards: {load.buffer.name} is read at {index}", "plain loops")
        shape.append(int(values.max()) + 1)
        order = order * shape[-1] + values
    if len(np.unique(order)) != prod(shape) or prod(shape) != len(order):
        raise _refusal(nest, f"the loops do not cover a box of {load.buffer.name}, each element once", "plain loops")
    mixed = [i for i in store.indices if variables(i) & loops.keys() and variables(i) - loops.keys()]
    if mixed:
        raise _refusal(nest, f"{store.buffer.name} is filled at {mixed[0]}, a part of it", "whole tiles")
    return _Tile(nest, store, load, condition, base, tuple(shape), points, order)


def _unfolded(load: Load, loops: dict[Var, int]) -> Load:
    """Give a load with the loops over dimensions of one element, which were known to be 0 there, in its indices."""
    unused = iter([v for v in loops if not any(v in variables(i) for i in load.indices)])
    single = (arith.is_const(n, 1) and not variables(i) for n, i in zip(load.buffer.shape, load.indices, strict=True))
    return Load(load.buffer, tuple(next(unused, i) if s else i for i, s in zip(load.indices, single, strict=True)))


def _is_zero(value: Expr) -> bool:
    return type(value) is Const and value.value == 0


def _conjuncts(condition: Expr | None) -> list[Expr]:
    match condition:
        case None:
            return []
        case And(a, b):
            return [*_conjuncts(a), *_conjuncts(b)]
        case _:
            return [condition]


def _listing(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _refusal(stmt: Stmt, fact: str, advice: str) -> CodegenError:
    first = "\n".join(f"> {line}" for line in str(stmt).splitlines()[:4])
    return CodegenError("tma", fact, where=first, advice=advice)
