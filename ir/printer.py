"""Text of expressions, statements and functions: valid Python syntax, which `ir.parser` reads back.

    def scale(A: float32[n], C: Out[float32[n]], *, n: int32 >= 0):
        for i in parallel(n):
            C[i] = A[i] * 2.0

A literal is bare where its neighbours show its type (else int32, float32), and written `int8(3)` elsewhere.
`Let` and `Allocate` are assignments whose scope is the rest of the block, or `with` blocks where their scope ends
before the block does.  Other layers' nodes print through a method `text(print_expr) -> str` of their own.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from . import expr as e
from . import stmt as s
from .buffer import Buffer
from .dtype import DType, boolean, float32, int32, uint32
from .intrinsics import DOTS, INTRINSICS, LDMATRIX, MMA

OR, AND, NOT, COMPARE, SUM, PRODUCT, ATOM = range(1, 8)  # how tightly Python's operators bind
INDENT = "    "
T = TypeVar("T")

INFIX: dict[type, tuple[str, int]] = {
    e.Or: ("or", OR), e.And: ("and", AND),
    e.Eq: ("==", COMPARE), e.Ne: ("!=", COMPARE), e.Lt: ("<", COMPARE), e.Le: ("<=", COMPARE),
    e.Add: ("+", SUM), e.Sub: ("-", SUM),
    e.Mul: ("*", PRODUCT), e.Div: ("/", PRODUCT), e.FloorDiv: ("//", PRODUCT), e.FloorMod: ("%", PRODUCT),
}  # fmt: skip
PREFIX: dict[type, str] = {e.Min: "min", e.Max: "max", e.Select: "select", e.IfThenElse: "if_then_else"}
FIXED_RESULT: dict[str, DType] = {  # intrinsics whose result type does not follow from their first argument's
    "isnan": boolean, "isinf": boolean, "isfinite": boolean,
    "prefetch": int32, **dict.fromkeys(DOTS, int32),
    "to_tf32": uint32, "load_word": uint32, "dp4a_s8s8": int32, "dp4a_u8s8": int32,
    **dict.fromkeys((*LDMATRIX, *(f"mma_{name}" for name in MMA)), int32),
}  # fmt: skip


def expr_text(node: e.Expr) -> str:
    """Give the text of an expression, such as `A[i, k] * 2.0`."""
    return _Printer().expr(node)


def stmt_text(stmt: s.Stmt, mark: s.Stmt | None = None, note: Mapping[int, str] | None = None) -> str:
    """Give the text of a statement, one line per statement in it.

    mark  the statement inside `stmt` whose line gets `>` in its first column; the others move right with it
    note  comments for the ends of lines, by id(statement)
    """
    printer = _Printer(mark, note)
    printer.block(stmt, "")
    return "\n".join(printer.lines)


def function_text(function: s.Function, mark: s.Stmt | None = None, note: Mapping[int, str] | None = None) -> str:
    """Give the text of a function; `mark` and `note` as in `stmt_text`."""
    printer = _Printer(mark, note)
    printer.function(function)
    return "\n".join(printer.lines)


def place_text(function: s.Function, mark: s.Stmt, context: int = 4) -> str:
    """Give the marked line of a function for an error: what encloses it, and up to `context` lines on each side."""
    lines = function_text(function, mark).splitlines()
    at = next((k for k, line in enumerate(lines) if line.startswith(">")), 0)
    depth = _depth(lines[at])
    shown = set(range(max(0, at - context), min(len(lines), at + context + 1)))
    for k in range(at - 1, -1, -1):
        if _depth(lines[k]) < depth:
            depth = _depth(lines[k])
            shown.add(k)
    result: list[str] = []
    for k, line in enumerate(lines):
        if k in shown:
            result.append(line)
        elif result and result[-1].strip() != "...":
            result.append(" " * _depth(line) + "...")
    return "\n".join(result)


def _depth(line: str) -> int:
    return len(line) - len(line[1:].lstrip()) if line.startswith(">") else len(line) - len(line.lstrip())


class Names:
    """Gives each variable and buffer its own identifier: its name, with a suffix where another one has that name."""

    def __init__(self) -> None:
        self._given: dict[int, tuple[object, str]] = {}
        self._taken: set[str] = set()

    def __call__(self, thing: e.Var | Buffer) -> str:
        """Give the identifier of `thing`; the first one that asks for a name gets it unchanged."""
        found = self._given.get(id(thing))
        if found is None:
            wanted = _identifier(thing.name)
            name, count = wanted, 0
            while name in self._taken:
                count += 1
                name = f"{wanted}_{count}"
            self._taken.add(name)
            found = self._given[id(thing)] = (thing, name)
        return found[1]


def _identifier(name: str) -> str:
    text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    if not text or text[0].isdigit():
        text = f"_{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def natural(value: e.Number) -> DType:
    """Give the type of a bare literal where no neighbour shows one."""
    match value:
        case bool():
            return boolean
        case float():
            return float32
        case _:
            return int32


class Shown(Generic[T]):
    """Tells the data type that the text of the first of some nodes that is more than literals shows, or None.

    find  tells it of one node, which is asked for once
    """

    def __init__(self, find: Callable[[T], DType | None]) -> None:
        self._find = find
        self._found: dict[int, DType | None] = {}

    def __call__(self, *nodes: T) -> DType | None:
        """Give the first type that is shown."""
        for node in nodes:
            if id(node) not in self._found:
                self._found[id(node)] = self._find(node)
            if self._found[id(node)] is not None:
                return self._found[id(node)]
        return None


class _Printer:
    """One text in the making: its lines so far and the names that it has given."""

    def __init__(self, mark: s.Stmt | None = None, note: Mapping[int, str] | None = None) -> None:
        self.lines: list[str] = []
        self._names = Names()
        self._note = note or {}
        match mark:
            case s.Seq([first, *_]):
                self._mark = first
            case _:
                self._mark = mark
        self._margin = "" if mark is None else "  "
        self._shown = Shown(self._find_shown)

    # Expressions

    def expr(self, node: e.Expr, level: int = 0, hint: DType | None = None) -> str:
        """Give the text of `node` where operators of at least `level` stand bare and `hint` types literals."""
        infix = INFIX.get(type(node))
        if infix is None:
            return self._form(node, level, hint)
        text = self._chain(node, infix[1], hint)
        return f"({text})" if infix[1] < level else text

    def _chain(self, node: e.Expr, level: int, hint: DType | None) -> str:
        """Write a left-leaning chain of operators of one level, without recursing along it."""
        rights: list[tuple[str, e.Expr, DType | None]] = []
        while True:
            a, b = node.a, node.b  # type: ignore[attr-defined]
            if level <= AND:
                hint = boolean
            else:
                hint = self._shown(a, b) or (None if level == COMPARE else hint)
            rights.append((INFIX[type(node)][0], b, hint))
            node = a
            if level == COMPARE or INFIX.get(type(node), ("", 0))[1] != level:
                break
        text = self.expr(node, level + 1, hint)  # names are given in reading order, so the leftmost comes first
        return " ".join([text, *(f"{symbol} {self.expr(b, level + 1, h)}" for symbol, b, h in reversed(rights))])

    def _form(self, node: e.Expr, level: int, hint: DType | None) -> str:
        match node:
            case e.Const():
                return _literal(node, hint)
            case e.Var():
                return self._names(node)
            case e.Cast(e.Const() as literal, dtype):
                return f"{dtype}({_wrapped(literal)})"
            case e.Cast(value, dtype):
                return f"{dtype}({self.expr(value)})"
            case e.Not(a):
                text = f"not {self.expr(a, NOT, boolean)}"
                return f"({text})" if level > NOT else text
            case e.Load(buffer, indices):
                return self.element(buffer, indices)
            case e.Address(buffer, indices):
                return f"address({self.element(buffer, indices)})"
            case e.Min(a, b) | e.Max(a, b):
                return self._prefix(node, (), (a, b), hint)
            case e.Select(condition, a, b) | e.IfThenElse(condition, a, b):
                return self._prefix(node, (condition,), (a, b), hint)
            case e.Call():
                return self._call(node)
            case _:
                return node.text(self.expr)  # type: ignore[attr-defined]

    def _prefix(self, node: e.Expr, first: Sequence[e.Expr], rest: Sequence[e.Expr], hint: DType | None) -> str:
        hint = self._shown(*rest) or hint
        words = [self.expr(x, 0, boolean) for x in first] + [self.expr(x, 0, hint) for x in rest]
        return f"{PREFIX[type(node)]}({', '.join(words)})"

    def _call(self, node: e.Call) -> str:
        hint = self._shown(*node.args) if follows_arguments(node.name) else None
        words = [self.expr(x, 0, hint) for x in node.args]
        if call_dtype(node.name, node.args) != node.dtype:
            words.append(f"dtype={node.dtype}")
        return f"{node.name}({', '.join(words)})"

    def element(self, buffer: Buffer, indices: Sequence[e.Expr]) -> str:
        """Give the text of `buffer[indices]`."""
        return f"{self._names(buffer)}[{', '.join(map(self.expr, indices)) or '()'}]"

    def _find_shown(self, node: e.Expr) -> DType | None:
        match node:
            case e.Const():
                return None
            case e.Binary():
                return self._shown_in_chain(node)
            case e.Select() | e.IfThenElse():
                return self._shown(node.then, node.otherwise)
            case e.Call(name, args) if follows_arguments(name) and call_dtype(name, args) == node.dtype:
                return self._shown(*args)
            case _:
                return node.dtype

    def _shown_in_chain(self, node: e.Expr) -> DType | None:
        rights: list[e.Expr] = []
        while isinstance(node, e.Binary):
            rights.append(node.b)
            node = node.a
        return self._shown(node, *reversed(rights))

    # Statements

    def function(self, function: s.Function) -> None:
        """Write the header and the body."""
        outputs = {id(b) for b in function.outputs}
        words = []
        for param in function.params:
            match param:
                case Buffer():
                    kind = self._buffer_type(param)
                    words.append(f"{self._names(param)}: {f'Out[{kind}]' if id(param) in outputs else kind}")
                case e.Var():
                    words.append(f"{self._names(param)}: {_var_type(param)}")
        sizes = [f"{self._names(v)}: {_var_type(v)}" for v in function.size_vars]
        header = ", ".join(words + (["*", *sizes] if sizes else []))
        self.lines.append(f"{self._margin}def {_identifier(function.name)}({header}):")
        self.block(function.body, INDENT)

    def _buffer_type(self, buffer: Buffer) -> str:
        kind = self._element_type(buffer)
        extra = self._layout(buffer) + ([f'scope="{buffer.scope}"'] if buffer.scope != "global" else [])
        return f"buffer({', '.join([kind, *extra])})" if extra else kind

    def _element_type(self, buffer: Buffer) -> str:
        return f"{buffer.dtype}[{', '.join(map(self.expr, buffer.shape)) or '()'}]"

    def _layout(self, buffer: Buffer) -> list[str]:
        words = []
        if buffer.strides is not None:
            words.append(f"strides=[{', '.join(map(self.expr, buffer.strides))}]")
        if buffer.align != 64:
            words.append(f"align={buffer.align}")
        return words

    def line(self, text: str, indent: str, stmt: s.Stmt) -> None:
        """Write one line, with the mark and the comment of `stmt`."""
        margin = "> " if stmt is self._mark else self._margin
        comment = self._note.get(id(stmt))
        self.lines.append(f"{margin}{indent}{text}" + (f"  # {comment}" if comment else ""))

    def block(self, stmt: s.Stmt, indent: str) -> None:
        """Write a statement and, for bindings, what follows them, as one block."""
        match stmt:
            case s.Seq(()):
                self.line("pass", indent, stmt)
            case s.Seq(body):
                for part in body[:-1]:
                    self._inner(part, indent)
                self.block(body[-1], indent)
            case s.Let(_, _, body) | s.Allocate(_, body):
                self.line(self._binding(stmt), indent, stmt)
                self.block(body, indent)
            case _:
                self._simple(stmt, indent)

    def _inner(self, stmt: s.Stmt, indent: str) -> None:
        """Write a statement that others follow in its block."""
        match stmt:
            case s.Let(var, value, body):
                kind = "" if self._infers(var, value) else f", {_var_type(var)}"
                text = f"with let({self.expr(value, 0, None if not kind else var.dtype)}{kind}) as {self._names(var)}:"
                self._nested(text, stmt, body, indent)
            case s.Allocate(buffer, body):
                self._nested(f"with {self._allocation(buffer)} as {self._names(buffer)}:", stmt, body, indent)
            case s.Seq(parts):
                for part in parts:
                    self._inner(part, indent)
            case _:
                self._simple(stmt, indent)

    def _binding(self, stmt: s.Let | s.Allocate) -> str:
        match stmt:
            case s.Allocate(buffer):
                return f"{self._names(buffer)} = {self._allocation(buffer)}"
            case s.Let(var, value) if self._infers(var, value):
                text = self.expr(value)  # before the variable, so that names are given in that order
                return f"{self._names(var)} = {text}"
            case s.Let(var, value):
                text = self.expr(value, 0, var.dtype)
                return f"{self._names(var)}: {_var_type(var)} = {text}"

    def _infers(self, var: e.Var, value: e.Expr) -> bool:
        """Tell whether the text of `value` without a type gives back `var`."""
        match value:
            case e.Const(literal):
                shown = natural(literal)
            case _:
                shown = self._shown(value)
        return var.minimum is None and shown == var.dtype

    def _allocation(self, buffer: Buffer) -> str:
        scope = [f'"{buffer.scope}"'] if buffer.scope != "global" else []
        return f"allocate({', '.join([self._element_type(buffer), *scope, *self._layout(buffer)])})"

    def _nested(self, text: str, stmt: s.Stmt, body: s.Stmt, indent: str) -> None:
        self.line(text, indent, stmt)
        self.block(body, indent + INDENT)

    def _simple(self, stmt: s.Stmt, indent: str) -> None:
        match stmt:
            case s.For():
                self._nested(f"for {self._names(stmt.var)} in {self._loop(stmt)}:", stmt, stmt.body, indent)
            case s.Store(buffer, indices, value):
                text = f"{self.element(buffer, indices)} = {self.expr(value, 0, buffer.dtype)}"
                self.line(text, indent, stmt)
            case s.If():
                self._branches(stmt, indent)
            case s.Evaluate(value):
                self.line(self.expr(value), indent, stmt)
            case _:
                raise AssertionError(f"no statement: {stmt!r}")

    def _branches(self, stmt: s.If, indent: str) -> None:
        word, rest = "if", stmt
        while True:
            match rest:
                case s.If(condition, then, otherwise):
                    self._nested(f"{word} {self.expr(condition, 0, boolean)}:", rest, then, indent)
                    word, rest = "elif", otherwise
                case None:
                    return
                case _:
                    self.lines.append(f"{self._margin}{indent}else:")
                    self.block(rest, indent + INDENT)
                    return

    def _loop(self, loop: s.For) -> str:
        words = [f'"{loop.thread}"'] if loop.thread else []
        words.append(self.expr(loop.extent))
        if loop.var.minimum not in (None, 0) or loop.var.dtype != loop.extent.dtype:
            words.append(_var_type(loop.var))
        plain: set[str] = set()
        for annotation in loop.annotations:
            name, value = annotation.name, annotation.value
            bare = name.isidentifier() and not keyword.iskeyword(name) and name not in plain
            words.append(f"{name}={value!r}" if bare else f"**{{{name!r}: {value!r}}}")
            plain.add(name)
        return f"{loop.kind.value}({', '.join(words)})"


def follows_arguments(name: str) -> bool:
    """Tell whether the intrinsic's result has its arguments' type."""
    return name in INTRINSICS and name not in FIXED_RESULT


def call_dtype(name: str, args: Sequence[e.Expr]) -> DType:
    """Give the type that a call has where its text says none: int32 for external functions."""
    return args[0].dtype if follows_arguments(name) and args else FIXED_RESULT.get(name, int32)


def _var_type(var: e.Var) -> str:
    return str(var.dtype) if var.minimum is None else f"{var.dtype} >= {var.minimum}"


def _literal(node: e.Const, hint: DType | None) -> str:
    if node.dtype == boolean:
        return str(bool(node.value))
    if node.dtype == (hint or natural(node.value)) and math.isfinite(node.value):
        return _digits(node)
    return _wrapped(node)


def _wrapped(node: e.Const) -> str:
    if node.dtype == boolean:
        return str(bool(node.value))
    digits = _digits(node)
    return f"{node.dtype}({digits})" if math.isfinite(node.value) else f'{node.dtype}("{digits}")'


def _digits(node: e.Const) -> str:
    return repr(float(node.value)) if node.dtype.is_float else str(int(node.value))
