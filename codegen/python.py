"""A loop nest as Python source, for the interpreter.

Integers are left unwrapped within sums and products, and wrapped where their value is observed and may lie outside of
the type; most index arithmetic is proved by the loops' extents never to.  Likewise an access is checked only where
its indices are not proved to lie in the buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from ..ir import expr as e
from ..ir import stmt as s
from ..ir.arith import wrap
from ..ir.buffer import Buffer
from ..ir.dtype import DType, bfloat16, boolean, float16, float64, int4, int32
from ..ir.errors import CodegenError
from ..ir.intrinsics import DOTS, INTRINSICS
from ..ir.printer import ATOM, COMPARE, INFIX, NOT, PRODUCT, SUM
from . import scalar

LOOPS_PER_FUNCTION = 15  # Python refuses more than 20 nested blocks
CONCURRENT = (s.ForKind.PARALLEL, s.ForKind.VECTORIZED, s.ForKind.THREAD)


_CHOICES = {"lesser": scalar.lesser, "greater": scalar.greater}


class Fault(Exception):
    """What the running source refuses; the interpreter adds the place."""

    def __init__(self, fact: str, advice: str) -> None:
        self.fact, self.advice = fact, advice
        super().__init__(fact)


@dataclass(frozen=True, slots=True)
class Term:
    """A Python expression: its text, how tightly it binds, and for integers the range of its value."""

    text: str
    level: int = ATOM
    lo: int = 0
    hi: int = 0

    def at(self, level: int) -> str:
        """Give the text as an operand where operators of `level` stand bare."""
        return self.text if self.level >= level else f"({self.text})"


@dataclass(slots=True)
class Place:
    """Where a buffer's elements are: their list's name and its constant shape and strides."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    allocated: bool


@dataclass(slots=True)
class Source:
    """The source of a nest: a function `nest` of one list per buffer parameter.

    text     complete when translation has ended
    globals  what its names stand for
    places   line number -> the statement that the line is of
    written  buffers that are stored to, or whose addresses are taken
    """

    values: dict[e.Var, Term]
    externs: Mapping[str, Callable]
    backwards: bool
    text: str = ""
    globals: dict[str, Any] = field(default_factory=dict)
    places: dict[int, s.Stmt] = field(default_factory=dict)
    written: set[Buffer] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    buffers: dict[Buffer, Place] = field(default_factory=dict)
    serial: Iterator[int] = field(default_factory=count)
    constants: dict[tuple[str, DType], str] = field(default_factory=dict)

    @staticmethod
    def constant(node: e.Expr) -> int:
        """Give the value of an integer expression without variables."""
        term = Source({}, {}, False).value(node)
        return term.lo if term.lo == term.hi else int(eval(term.text, _CHOICES))

    def fresh(self, prefix: str) -> str:
        """Give a name that is not in use."""
        return f"{prefix}{next(self.serial)}"

    def bind(self, prefix: str, thing: Any) -> str:
        """Give a new global name that stands for `thing`."""
        name = self.fresh(prefix)
        self.globals[name] = thing
        return name

    # Expressions

    def value(self, node: e.Expr) -> Term:
        """Give an expression, wrapped to the range of its type."""
        term, dtype = self.raw(node), node.dtype
        if not dtype.is_int:
            return term
        return _wrapped(term, int32 if dtype == int4 else dtype)

    def raw(self, node: e.Expr) -> Term:
        """Give an expression; an integer may lie outside of its type by multiples of the type's range."""
        match node:
            case e.Const():
                return self._const(node)
            case e.Var():
                return self._var(node)
            case e.Add(a, b) | e.Sub(a, b) | e.Mul(a, b):
                return _ring(node, self.raw(a), self.raw(b))
            case e.FloorDiv(a, b):
                return _quotient(node, self.value(a), self.value(b))
            case e.FloorMod(a, b):
                return _remainder(node, self.value(a), self.value(b))
            case e.Div(a, b) | e.Comparison(a=a, b=b):
                symbol, level = INFIX[type(node)]
                left = level if level != COMPARE else level + 1
                return Term(f"{self.value(a).at(left)} {symbol} {self.value(b).at(level + 1)}", level)
            case e.Min(a, b):
                return _extremum("lesser", min, self.value(a), self.value(b))
            case e.Max(a, b):
                return _extremum("greater", max, self.value(a), self.value(b))
            case e.Not(a):
                return Term(f"not {self.value(a).at(NOT)}", NOT)
            case e.Select(condition, a, b) | e.IfThenElse(condition, a, b):
                return self._choice(self.value(condition), self.value(a), self.value(b))
            case e.Cast(value, dtype):
                return self._cast(value, dtype)
            case e.Load(buffer, indices):
                return self._load(buffer, indices)
            case e.Call():
                return self._call(node)
            case _:
                raise CodegenError("interpret", f"no meaning for {type(node).__name__}", advice="a lowered nest")

    def _const(self, node: e.Const) -> Term:
        if node.dtype == boolean:
            return Term(str(bool(node.value)))
        if node.dtype.is_int:
            return _literal(int(node.value))
        key = (repr(node.value), node.dtype)
        if key not in self.constants:
            self.constants[key] = self.bind("c", scalar.converter(float64, node.dtype)(node.value))
        return Term(self.constants[key])

    def _var(self, node: e.Var) -> Term:
        found = self.values.get(node)
        if found is None:
            raise CodegenError("interpret", f"{node.name} has no value here", advice="a loop, let or parameter for it")
        return found

    @staticmethod
    def _choice(condition: Term, a: Term, b: Term) -> Term:
        text = f"({a.text} if {condition.text} else {b.text})"
        return Term(text, ATOM, min(a.lo, b.lo), max(a.hi, b.hi))

    def _cast(self, value: e.Expr, dtype: DType) -> Term:
        if dtype.is_int and value.dtype.is_int:
            return _wrapped(self.value(value), dtype)
        return self._converted(self.value(value), value.dtype, dtype)

    def _converted(self, term: Term, source: DType, target: DType) -> Term:
        name = f"to_{target}_from_{source}"
        if name not in self.globals:
            self.globals[name] = scalar.converter(source, target)
        return Term(f"{name}({term.text})", ATOM, *_range(target))

    def _load(self, buffer: Buffer, indices: Sequence[e.Expr]) -> Term:
        place = self._place(buffer)
        text = f"{place.name}[{self._offset(buffer, indices)}]"
        if place.allocated:
            name = self.fresh("t")
            text = f"({name} if ({name} := {text}) is not None else unwritten({buffer.name!r}))"
        return Term(text, ATOM, *_range(buffer.dtype))

    def _place(self, buffer: Buffer) -> Place:
        if buffer not in self.buffers:
            raise CodegenError("interpret", f"{buffer.name} is not in scope", advice="a parameter, or inside Allocate")
        return self.buffers[buffer]

    def _offset(self, buffer: Buffer, indices: Sequence[e.Expr]) -> str:
        """Give the text of the flat offset of an element, checked where it is not proved in bounds."""
        place = self._place(buffer)
        terms = [self.value(i) for i in indices]
        if len(terms) != len(place.shape):
            fact = f"{buffer.name} has {len(place.shape)} dimensions, indexed by {len(terms)}"
            raise CodegenError("interpret", fact, advice="one index per dimension")
        if all(t.lo >= 0 and t.hi < extent for t, extent in zip(terms, place.shape, strict=True)):
            return _flat(terms, place.strides)
        return f"{self._checker(buffer, place)}({', '.join(t.text for t in terms)})"

    def _checker(self, buffer: Buffer, place: Place) -> str:
        name = f"at_{place.name}"
        if name not in self.globals:
            names = [Term(f"i{k}") for k in range(len(place.shape))]
            checks = " and ".join(f"0 <= {t.text} < {d}" for t, d in zip(names, place.shape, strict=True)) or "True"
            args = ", ".join(t.text for t in names)
            refuse = self.bind("outside", lambda *at: outside(buffer, at, place.shape))
            text = f"lambda {args}: {_flat(names, place.strides)} if {checks} else {refuse}({args})"
            self.globals[name] = eval(text, self.globals)
        return name

    def _call(self, node: e.Call) -> Term:
        name, args = node.name, node.args
        if name == "prefetch":
            return Term("0")
        if name in INTRINSICS and name not in DOTS:
            function = scalar.intrinsic(name, tuple(a.dtype for a in args), node.dtype)
            if function is None:
                raise CodegenError("interpret", f"{name} has no meaning yet", advice="another intrinsic")
            text = ", ".join(self.value(a).text for a in args)
            return Term(f"{self.bind('f', function)}({text})", ATOM, *_range(node.dtype))
        words = [self._argument(a) for a in args]
        taps = DOTS.get(name)
        if taps is not None and len(args) == 4:
            words.insert(-1, f"0, {taps}")
        run = self.bind("dot", dot) if taps is not None else self._extern(node)
        words = words if taps is None else [str(taps), *words]
        return Term(f"{run}({', '.join(words)})", ATOM, *_range(node.dtype))

    def _argument(self, node: e.Expr) -> str:
        match node:
            case e.Address(buffer, indices):
                self.written.add(buffer)
                return f"{self._place(buffer).name}, {self._offset(buffer, indices)}"
            case _:
                return self.value(node).text

    def _extern(self, node: e.Call) -> str:
        called = self.externs.get(node.name)
        if called is None:
            fact = f"no external function {node.name}"
            raise CodegenError("interpret", fact, advice=f"externs={{'{node.name}': a Python function}}")
        kinds = [_pointed_at(a) for a in node.args]
        return self.bind("extern", lambda *args: call_extern(called, kinds, args, node.dtype))

    # Statements

    def line(self, text: str, depth: int, stmt: s.Stmt | None = None) -> None:
        """Add a line of source; `stmt` is what it does."""
        self.lines.append(" " * depth + text)
        if stmt is not None:
            self.places[len(self.lines)] = stmt

    def statement(self, stmt: s.Stmt, depth: int, loops: int) -> None:
        """Add the lines of a statement at a depth in spaces, inside `loops` loops of the same Python function."""
        match stmt:
            case s.For():
                self._loop(stmt, depth, loops)
            case s.Store(buffer, indices, value):
                self._store(stmt, buffer, indices, value, depth)
            case s.If(condition, then, otherwise):
                self.line(f"if {self.value(condition).text}:", depth, stmt)
                self.statement(then, depth + 1, loops)
                if otherwise is not None:
                    self.line("else:", depth)
                    self.statement(otherwise, depth + 1, loops)
            case s.Let(var, value, body):
                term = self.value(value)
                self.values[var] = Term(self.fresh("v"), ATOM, term.lo, term.hi)
                self.line(f"{self.values[var].text} = {term.text}", depth, stmt)
                self.statement(body, depth, loops)
            case s.Allocate(buffer, body):
                place = self.enter(buffer, allocated=True)
                size = span(place.shape, place.strides)
                self.line(f"{place.name} = [None] * {size}", depth, stmt)
                self.statement(body, depth, loops)
            case s.Evaluate(value):
                self.line(self.value(value).text, depth, stmt)
            case s.Seq(body):
                self.line("pass", depth)
                for part in body:
                    self.statement(part, depth, loops)
            case _:
                raise CodegenError("interpret", f"no meaning for {type(stmt).__name__}", advice="a lowered nest")

    def _loop(self, loop: s.For, depth: int, loops: int) -> None:
        if loops == LOOPS_PER_FUNCTION:
            name = self.fresh("inner")
            self.line(f"def {name}():", depth)
            self._loop(loop, depth + 1, 0)
            self.line(f"{name}()", depth, loop)
            return
        extent = self.value(loop.extent)
        name = self.fresh("v")
        self.values[loop.var] = Term(name, ATOM, 0, max(0, extent.hi - 1))
        steps = f"range({extent.text})"
        if self.backwards and loop.kind in CONCURRENT:
            steps = f"reversed({steps})"
        self.line(f"for {name} in {steps}:", depth, loop)
        self.statement(loop.body, depth + 1, loops + 1)

    def _store(self, stmt: s.Stmt, buffer: Buffer, indices: Sequence[e.Expr], value: e.Expr, depth: int) -> None:
        self.written.add(buffer)
        term = self.value(value)
        if buffer.dtype.is_int and value.dtype.is_int:
            term = _wrapped(term, buffer.dtype)
        elif buffer.dtype in (float16, bfloat16, boolean) or value.dtype != buffer.dtype:
            term = self._converted(term, value.dtype, buffer.dtype)
        self.line(f"{self._place(buffer).name}[{self._offset(buffer, indices)}] = {term.text}", depth, stmt)

    def enter(self, buffer: Buffer, allocated: bool) -> Place:
        """Bring a buffer in scope."""
        shape = tuple(self._extent(x) for x in buffer.shape)
        strides = _row_major(shape) if buffer.strides is None else tuple(self._extent(x) for x in buffer.strides)
        self.buffers[buffer] = Place(self.fresh("b"), shape, strides, allocated)
        return self.buffers[buffer]

    def _extent(self, node: e.Expr) -> int:
        term = self.value(node)
        if term.lo != term.hi:
            fact = f"the extent {node} varies while the nest runs"
            raise CodegenError("interpret", fact, advice="constants and sizes as extents of memory")
        return term.lo


def translate(
    function: s.Function, values: Mapping[e.Var, int | float], externs: Mapping[str, Callable], backwards: bool
) -> Source:
    """Give the source of a function whose scalar parameters and sizes have the given values."""
    source = Source({}, externs, backwards)
    source.globals |= {**_CHOICES, "unwritten": unwritten}
    for var, value in values.items():
        source.values[var] = source.value(e.Const(value, var.dtype))
    names = [source.enter(buffer, allocated=False).name for buffer in function.buffers]
    source.line(f"def nest({', '.join(names)}):", 0)
    source.statement(function.body, 1, 0)
    source.text = "\n".join(source.lines) + "\n"
    return source


def outside(buffer: Buffer, indices: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Refuse an access out of bounds."""
    at = ", ".join(map(str, indices))
    raise Fault(f"{buffer.name}[{at}] is outside of shape {shape}", "a guard, or a larger buffer")


def unwritten(name: str) -> Any:
    """Refuse a read of memory that was allocated and never written."""
    raise Fault(f"an element of {name} is read that nothing has written", "a store to it before")


def dot(
    taps: int, out: list, at: int, a: list, a_at: int, b: list, b_at: int, a_step: int, b_step: int, lanes: int
) -> int:
    """Add to each of `lanes` int32 the product of `taps` elements of `a` with as many of `b`.

    a_step, b_step  elements from those of one lane to those of the next
    """
    reach = a_step * (lanes - 1) + taps, b_step * (lanes - 1) + taps
    sums, left, right = out[at : at + lanes], a[a_at : a_at + reach[0]], b[b_at : b_at + reach[1]]
    if (len(sums), len(left), len(right)) != (lanes, *reach):
        raise Fault(f"a dot product of {lanes} lanes goes past the end of a buffer", "fewer lanes")
    if None in sums or None in left or None in right:
        unwritten("an operand of the dot product")
    for lane in range(lanes):
        products = (left[a_step * lane + r] * right[b_step * lane + r] for r in range(taps))
        out[at + lane] = wrap(sums[lane] + sum(products), int32)
    return 0


def call_extern(called: Callable, kinds: Sequence[DType | None], args: tuple[Any, ...], result: DType) -> Any:
    """Call a Python function on flat views of the lists in `args`: (list, offset) where `kinds` has a data type."""
    rest = iter(args)
    arrays: dict[int, tuple[list, np.ndarray, DType]] = {}
    starts: dict[int, int] = {}
    words: list[Any] = []
    for kind in kinds:
        if kind is None:
            words.append(next(rest))
            continue
        elements, start = next(rest), next(rest)
        if id(elements) not in arrays:
            arrays[id(elements)] = (elements, scalar.to_array(elements, kind), kind)
        starts[id(elements)] = min(start, starts.get(id(elements), start))
        words.append(arrays[id(elements)][1][start:])
    value = called(*words)
    for key, (elements, array, kind) in arrays.items():
        elements[starts[key] :] = scalar.to_list(array[starts[key] :], kind)
    return 0 if value is None else wrap(int(value), result) if result.is_int else scalar.computed(result)(value)


def _range(dtype: DType) -> tuple[int, int]:
    return (int(dtype.min_value), int(dtype.max_value)) if dtype.is_int else (0, 0)


def _pointed_at(node: e.Expr) -> DType | None:
    """Give the type of the elements at an address, None for a number."""
    match node:
        case e.Address(buffer):
            return buffer.dtype
        case _:
            return None


def _wrapped(term: Term, dtype: DType) -> Term:
    lo, hi = _range(dtype)
    if lo <= term.lo and term.hi <= hi:
        return term
    if term.lo == term.hi:
        return _literal(wrap(term.lo, dtype))
    if lo == 0:
        return Term(f"({term.at(SUM)} & {hi})", ATOM, lo, hi)
    return Term(f"(({term.at(SUM)} + {-lo} & {hi - lo}) - {-lo})", ATOM, lo, hi)


def _extremum(name: str, choose: Callable[[int, int], int], a: Term, b: Term) -> Term:
    return Term(f"{name}({a.text}, {b.text})", ATOM, choose(a.lo, b.lo), choose(a.hi, b.hi))


def _ring(node: e.Expr, a: Term, b: Term) -> Term:
    symbol, level = INFIX[type(node)]
    match node:
        case e.Add():
            ends = (a.lo + b.lo, a.hi + b.hi)
        case e.Sub():
            ends = (a.lo - b.hi, a.hi - b.lo)
        case _:
            corners = (a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi)
            ends = (min(corners), max(corners))
    return _folded(Term(f"{a.at(level)} {symbol} {b.at(level + 1)}", level, *ends), node)


def _quotient(node: e.Expr, a: Term, b: Term) -> Term:
    text = f"{a.at(PRODUCT)} // {b.at(PRODUCT + 1)}"
    if b.lo <= 0:
        return _by_zero(text, a)
    corners = (a.lo // b.lo, a.lo // b.hi, a.hi // b.lo, a.hi // b.hi)
    return _folded(Term(text, PRODUCT, min(corners), max(corners)), node)


def _remainder(node: e.Expr, a: Term, b: Term) -> Term:
    text = f"{a.at(PRODUCT)} % {b.at(PRODUCT + 1)}"
    if b.lo <= 0:
        return _by_zero(text, b)
    if b.lo == b.hi and a.lo // b.lo == a.hi // b.lo:
        ends = (a.lo % b.lo, a.hi % b.lo)
    else:
        ends = (0, b.hi - 1 if a.lo < 0 else min(a.hi, b.hi - 1))
    return _folded(Term(text, PRODUCT, *ends), node)


def _by_zero(text: str, greatest: Term) -> Term:
    """Give a division that may be one by zero: never folded, so that it shows when it runs."""
    most = max(1, abs(greatest.lo), abs(greatest.hi))
    return Term(text, PRODUCT, -most, most)


def _folded(term: Term, node: e.Expr) -> Term:
    """Write an integer whose value is known as a literal."""
    return _literal(term.lo) if term.lo == term.hi and node.dtype.is_int else term


def _literal(value: int) -> Term:
    return Term(str(value) if value >= 0 else f"({value})", ATOM, value, value)


def _flat(indices: Sequence[Term], strides: Sequence[int]) -> str:
    parts = [t.at(SUM) if step == 1 else f"{t.at(SUM + 1)} * {step}" for t, step in zip(indices, strides, strict=True)]
    return " + ".join(parts) or "0"


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Give how many elements lie between the first one and the last, both counted."""
    return 1 + sum((d - 1) * step for d, step in zip(shape, strides, strict=True)) if all(shape) else 0
