"""Statements in the device language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from ....ir import arith
from ....ir.errors import CodegenError
from ....ir.expr import Const, Expr, Load, Var
from ....ir.stmt import Allocate, Evaluate, For, ForKind, If, Let, Seq, Stmt, Store
from ....ir.visit import inner_statements, substitute, variables
from .expressions import Expressions
from .names import HALVES, identifier, stored_type, value_type
from .wide import Lanes, is_wide, uniform_choice, wide_loads

WRITTEN_OUT = 4096  # statements that the loops marked unrolled may become; beyond that the compiler unrolls


@dataclass
class Writer:
    """Writes the body of one kernel, line by line."""

    printer: Expressions
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    serial: count = field(default_factory=count)

    def line(self, text: str) -> None:
        """Append a line at the current depth."""
        self.lines.append("  " * self.depth + text)

    def block(self, head: str, body: Stmt) -> None:
        """Write a statement in braces after `head`."""
        self.line(f"{head} {{".lstrip())
        self.depth += 1
        self.enclosed(body)
        self.depth -= 1
        self.line("}")

    def enclosed(self, stmt: Stmt) -> None:
        """Write a statement that has braces around it."""
        match stmt:
            case Let(var, value, body):
                self.line(f"const {value_type(var.dtype)} {identifier(var)} = {_bare(self.printer.value(value))};")
                self.enclosed(body)
            case _:
                self.write(stmt)

    def write(self, stmt: Stmt) -> None:
        """Write a statement."""
        match stmt:
            case Seq(parts):
                for part in parts:
                    self.write(part)
            case Store():
                self.store(stmt)
            case For():
                self.loop(stmt)
            case If(condition, then, otherwise):
                self.block(f"if ({_bare(self.printer.value(condition))})", then)
                if otherwise is not None:
                    self.block("else", otherwise)
            case Let():
                self.block("", stmt)
            case Allocate(buffer, body):
                self.check_private(stmt)
                dims = "".join(f"[{_size(d)}]" for d in buffer.shape) or "[1]"
                self.line(f"{stored_type(buffer.dtype)} {identifier(buffer)}{dims};")
                self.write(body)
            case Evaluate(value):
                self.line(f"{self.printer.value(value)};")
            case _:
                raise CodegenError("cuda", f"no meaning for {type(stmt).__name__}", advice="a lowered nest")

    def check_private(self, stmt: Allocate) -> None:
        """Refuse memory that is no thread's own."""
        if stmt.buffer.scope != "local":
            fact = f"{stmt.buffer.name} is kept in {stmt.buffer.scope} memory where only registers are left"
            raise CodegenError("cuda", fact, advice='set_scope("local")')

    # -- stores --------------------------------------------------------------------------------------------------

    def store(self, stmt: Store) -> None:
        """Write one element."""
        value = self.printer.stored(stmt.value, stmt.buffer.dtype)
        if stmt.buffer.scope == "local":
            place = self.printer.register(stmt.buffer, stmt.indices or (Const(0),))
            self.line(f"{place} = {_bare(value)};")
        else:
            self.line(f"tw_store({self.printer.place(stmt.buffer, stmt.indices)}, {self.converted(stmt, value)});")

    def converted(self, stmt: Store, value: str) -> str:
        """Give a value as the very type of the memory, which the call deduces from both arguments."""
        dtype = stmt.buffer.dtype
        narrow = dtype.bits < 32 and dtype not in HALVES
        return f"({stored_type(dtype)}){value}" if narrow else _bare(value)

    # -- loops ---------------------------------------------------------------------------------------------------

    def loop(self, loop: For) -> None:
        """Write a loop as its kind says."""
        extent = arith.int_value(loop.extent)
        match loop.kind:
            case ForKind.VECTORIZED if extent is not None:
                self.lanes(loop, extent)
            case ForKind.UNROLLED if extent is not None and statement_count(loop) <= WRITTEN_OUT:
                for k in range(extent):
                    self.copy(loop, k, braces=_declares(loop.body))
            case _:
                if loop.kind is ForKind.UNROLLED:
                    self.line("TW_UNROLL")
                kind, name = stored_type(loop.var.dtype), identifier(loop.var)
                head = f"for ({kind} {name} = 0; {name} < {self.printer.value(loop.extent)}; ++{name})"
                self.block(head, loop.body)

    def copy(self, loop: For, k: int, braces: bool = False) -> None:
        """Write iteration `k` of a loop that is written out."""
        self.printer.known[loop.var] = k
        if braces:
            self.block("", loop.body)
        else:
            self.write(loop.body)
        del self.printer.known[loop.var]

    def lanes(self, loop: For, extent: int) -> None:
        """Write a vector loop: neighbouring elements together as far as the widest access goes, else one by one."""
        match loop.body:
            case If(condition, then, None) if loop.var not in variables(condition):
                self.line(f"if ({_bare(self.printer.value(condition))}) {{")
                self.depth += 1
                self.lanes(For(loop.var, loop.extent, then, loop.kind), extent)
                self.depth -= 1
                self.line("}")
            case Store(buffer) as store:
                most = max(1, 16 // buffer.dtype.bytes)
                width = next((w for w in (16, 8, 4, 2) if w <= most and extent % w == 0), 1)
                if width == 1 or not self.pieces(loop, store, extent, width):
                    self.one_by_one(loop, extent)
            case _:
                self.one_by_one(loop, extent)

    def one_by_one(self, loop: For, extent: int) -> None:
        """Write the lanes one after the other."""
        for k in range(extent):
            self.copy(loop, k, braces=_declares(loop.body))

    def pieces(self, loop: For, store: Store, extent: int, width: int) -> bool:
        """Write a store in pieces of `width` lanes, if at least one access of it is wide; tell whether it was done."""
        while width > 1:
            lanes = Lanes(Var(f"{loop.var.name}_lane", loop.var.dtype, 0), width)
            made = []
            for first in range(0, extent, width):
                here = {loop.var: arith.add(lanes.var, first)}
                made.append(substitute(store, here))
            chosen = uniform_choice(made[0].value, lanes)
            values = [made[0].value] if chosen is None else [chosen.then, chosen.otherwise]
            loads = any(True for v in values for _ in wide_loads(self.printer, v, lanes))
            if loads or is_wide(self.printer, made[0], lanes):
                for piece in made:
                    self.piece(piece, lanes)
                return True
            width //= 2
        return False

    def piece(self, store: Store, lanes: Lanes) -> None:
        """Write the lanes of one store: values into registers, then all of them to memory."""
        self.line("{")
        self.depth += 1
        name = f"v{next(self.serial)}"
        source = self.plain_copy(store, lanes)
        if source:
            self.line(f"const {lanes.type(store.buffer)} {name} = {source};")
        else:
            self.line(f"{lanes.type(store.buffer)} {name};")
            self.lane_values(store, store.value, name, lanes)
        if is_wide(self.printer, store, lanes):
            first = self.at_lane(lanes, 0, lambda: self.printer.place(store.buffer, store.indices))
            self.line(f"tw_store(({lanes.type(store.buffer)}*)({first}), {name});")
        else:
            for k in range(lanes.count):
                self.printer.known[lanes.var] = k
                if store.buffer.scope == "local":
                    self.line(f"{self.printer.register(store.buffer, store.indices)} = {name}.at[{k}];")
                else:
                    self.line(f"tw_store({self.printer.place(store.buffer, store.indices)}, {name}.at[{k}]);")
            del self.printer.known[lanes.var]
        self.depth -= 1
        self.line("}")

    def plain_copy(self, store: Store, lanes: Lanes) -> str:
        """Give the wide load that is all of a store's value, or an empty string."""
        match store.value:
            case Load(buffer, indices) if buffer.dtype == store.buffer.dtype and lanes.fits(
                self.printer, buffer, indices
            ):
                return self.wide_load(store.value, lanes)
            case _:
                return ""

    def wide_load(self, load: Load, lanes: Lanes) -> str:
        """Give the text that loads all lanes at once."""
        kind = lanes.type(load.buffer)
        function = "tw_load_const" if load.buffer in self.printer.read_only else "tw_load"
        place = self.at_lane(lanes, 0, lambda: self.printer.place(load.buffer, load.indices))
        return f"{function}((const {kind}*)({place}))"

    def lane_values(self, store: Store, value: Expr, name: str, lanes: Lanes) -> None:
        """Write what computes the lanes of `value` into the register vector `name`."""
        chosen = uniform_choice(value, lanes)
        if chosen is not None:
            self.line(f"if ({_bare(self.printer.value(chosen.condition))}) {{")
            self.depth += 1
            self.lane_values(store, chosen.then, name, lanes)
            self.depth -= 1
            self.line("} else {")
            self.depth += 1
            self.lane_values(store, chosen.otherwise, name, lanes)
            self.depth -= 1
            self.line("}")
            return
        held: dict[int, str] = {}
        for load in list(wide_loads(self.printer, value, lanes)):
            source = f"v{next(self.serial)}"
            self.line(f"const {lanes.type(load.buffer)} {source} = {self.wide_load(load, lanes)};")
            held[id(load)] = source
        for k in range(lanes.count):
            self.printer.known[lanes.var] = k
            self.printer.replaced = {key: f"{source}.at[{k}]" for key, source in held.items()}
            self.line(f"{name}.at[{k}] = {_bare(self.printer.stored(value, store.buffer.dtype))};")
        self.printer.replaced = {}
        del self.printer.known[lanes.var]

    def at_lane(self, lanes: Lanes, k: int, text: Callable[[], str]) -> str:
        """Give a text as it is for one lane."""
        self.printer.known[lanes.var] = k
        made = text()
        del self.printer.known[lanes.var]
        return made


def statement_count(stmt: Stmt) -> int:
    """Give how many statements `stmt` becomes when its unrolled and vector loops are written out."""
    own = 0 if type(stmt) is Seq else 1
    inner = sum(map(statement_count, inner_statements(stmt)))
    if type(stmt) is For and stmt.kind in (ForKind.UNROLLED, ForKind.VECTORIZED):
        return inner * (arith.int_value(stmt.extent) or 1)
    return own + inner


def _declares(stmt: Stmt) -> bool:
    match stmt:
        case Allocate():
            return True
        case Seq(parts):
            return any(map(_declares, parts))
        case _:
            return False


def _bare(text: str) -> str:
    """Give a text without parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1]


def _size(dim: Expr) -> int:
    size = arith.int_value(dim)
    if size is None:
        raise CodegenError("cuda", f"a local buffer has the extent {dim}", advice="constant factors")
    return size
