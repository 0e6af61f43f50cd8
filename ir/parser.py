"""Reading printed nests back: the inverse of `ir.printer`, on top of Python's own `ast`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from . import expr as e
from . import stmt as s
from .buffer import Buffer
from .dtype import ALL, DType, boolean, dtype_of, int32, int64
from .errors import ParseError
from .printer import Shown, call_dtype, follows_arguments, natural

_BINARY: dict[type, type] = {
    ast.Add: e.Add, ast.Sub: e.Sub, ast.Mult: e.Mul, ast.Div: e.Div, ast.FloorDiv: e.FloorDiv, ast.Mod: e.FloorMod,
}  # fmt: skip
_COMPARE: dict[type, tuple[type, bool]] = {  # node, and whether its operands change places
    ast.Eq: (e.Eq, False), ast.NotEq: (e.Ne, False), ast.Lt: (e.Lt, False), ast.LtE: (e.Le, False),
    ast.Gt: (e.Lt, True), ast.GtE: (e.Le, True),
}  # fmt: skip
_CONNECTIVE: dict[type, type] = {ast.And: e.And, ast.Or: e.Or}
_CHOICE: dict[str, type] = {"select": e.Select, "if_then_else": e.IfThenElse}
_EXTREMUM: dict[str, type] = {"min": e.Min, "max": e.Max}
T = TypeVar("T", e.Var, Buffer)
_LOOPS = {kind.value: kind for kind in s.ForKind}
_DTYPES = {str(dtype): dtype for dtype in ALL}


def parse_function(text: str) -> s.Function:
    """Give the function that `text` prints; the sizes after `*` may be left out.

    Raises ParseError, with line and column, for anything that the printer would not write.
    """
    reader = _Reader(text)
    match reader.module():
        case [ast.FunctionDef() as definition]:
            return reader.function(definition)
        case body:
            raise reader.refusal(body[0] if body else None, "one function: `def name(parameters):`")


def parse_stmt(text: str, names: Mapping[str, e.Var | Buffer] | None = None) -> s.Stmt:
    """Give the statement that `text` prints; `names` says what its free names are.  Raises ParseError."""
    reader = _Reader(text, names)
    return reader.block(reader.module())


def parse_expr(text: str, names: Mapping[str, e.Var | Buffer] | None = None) -> e.Expr:
    """Give the expression that `text` prints; `names` says what its free names are.  Raises ParseError."""
    reader = _Reader(text, names)
    match reader.module():
        case [ast.Expr(value)]:
            return reader.expr(value)
        case _:
            raise reader.refusal(None, "one expression")


class _Reader:
    """One text being read: what its names stand for at this place, and what was made of them before."""

    def __init__(self, text: str, names: Mapping[str, e.Var | Buffer] | None = None) -> None:
        self._text = text
        self._scope: dict[str, e.Var | Buffer] = dict(names or {})
        self._made: dict[tuple, e.Var | Buffer] = {}  # a name bound again alike is the same thing, as when printed
        self._shown = Shown(self._find_shown)  # as the printer has it

    def module(self) -> list[ast.stmt]:
        """Give Python's statements.  Raises ParseError where the text is not Python."""
        try:
            return ast.parse(self._text).body
        except SyntaxError as error:
            expected = f"Python syntax ({error.msg})"
            raise self._error(error.lineno or 1, error.offset or 1, expected) from None

    def refusal(self, node: ast.AST | None, expected: str) -> ParseError:
        """Give the error that says what was expected at the place of `node`."""
        return self._error(getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, expected)

    def _error(self, line: int, column: int, expected: str) -> ParseError:
        lines = self._text.splitlines() or [""]
        shown = lines[min(line, len(lines)) - 1]
        where = f"  {shown}\n  {' ' * (column - 1)}^"
        fact = f"line {line}, column {column}: expected {expected}"
        return ParseError("parse", fact, where=where, advice="the text of a printed nest")

    # Functions and types

    def function(self, node: ast.FunctionDef) -> s.Function:
        """Give a function from its definition."""
        for arg in node.args.kwonlyargs:
            self._scope[arg.arg] = self._var(arg.arg, *self._var_type(arg.annotation))
        params: list[e.Var | Buffer] = []
        outputs: list[Buffer] = []
        for arg in node.args.args:
            self._param(arg, params, outputs)
        return s.Function(node.name, tuple(params), self.block(node.body), tuple(outputs))

    def _param(self, arg: ast.arg, params: list[e.Var | Buffer], outputs: list[Buffer]) -> None:
        kind, written = arg.annotation, False
        match kind:
            case ast.Subscript(ast.Name("Out"), inner):
                kind, written = inner, True
        made: e.Var | Buffer
        match kind:
            case ast.Subscript() | ast.Call():
                made = self._param_buffer(arg.arg, kind)
                if written:
                    outputs.append(made)
            case _:
                made = self._var(arg.arg, *self._var_type(kind))
        self._scope[arg.arg] = made
        params.append(made)

    def _param_buffer(self, name: str, node: ast.Subscript | ast.Call) -> Buffer:
        for size in _names(node):
            if size not in {*_DTYPES, *self._scope, "buffer"}:
                self._scope[size] = self._var(size, int32, 0)
        match node:
            case ast.Call(ast.Name("buffer"), [kind], keywords):
                return self._buffer(name, kind, keywords)
            case ast.Subscript():
                return self._buffer(name, node, [])
            case _:
                raise self.refusal(node, "a type such as float32[4, n] or buffer(float32[4, n], align=16)")

    def _buffer(self, name: str, node: ast.expr, keywords: Sequence[ast.keyword], scope: str = "global") -> Buffer:
        match node:
            case ast.Subscript(ast.Name(dtype), index) if dtype in _DTYPES:
                shape = self._indices(index)
            case _:
                raise self.refusal(node, "a type with a shape, such as float32[4, n]")
        strides, align = None, 64
        for word in keywords:
            match word:
                case ast.keyword("strides", ast.List(items)):
                    strides = tuple(self.expr(x) for x in items)
                case ast.keyword("align", ast.Constant(int(value))):
                    align = value
                case ast.keyword("scope", ast.Constant(str(value))):
                    scope = value
                case _:
                    raise self.refusal(word, 'strides=[...], align=bytes or scope="..."')
        layout = [ast.dump(x) for x in (node, *keywords)]
        key = (name, scope, *layout, *(id(self._scope.get(n)) for n in _names(node)))
        return self._make(key, lambda: Buffer(name, shape, _DTYPES[dtype], scope, strides, align))  # type: ignore[return-value]

    def _var(self, name: str, dtype: DType, minimum: int | None) -> e.Var:
        return self._make((name, dtype, minimum), lambda: e.Var(name, dtype, minimum))  # type: ignore[return-value]

    def _make(self, key: tuple, build: Callable[[], e.Var | Buffer]) -> e.Var | Buffer:
        if key not in self._made:
            self._made[key] = build()
        return self._made[key]

    def _var_type(self, node: ast.expr | None) -> tuple[DType, int | None]:
        match node:
            case ast.Name(name) if name in _DTYPES:
                return _DTYPES[name], None
            case ast.Compare(ast.Name(name), [ast.GtE()], [bound]) if name in _DTYPES:
                match _number(bound):
                    case int(value):
                        return _DTYPES[name], value
        raise self.refusal(node, "a scalar type such as int32 or int32 >= 0")

    # Statements

    def block(self, body: Sequence[ast.stmt]) -> s.Stmt:
        """Give a block as one statement; what it binds ends with it."""
        outer = dict(self._scope)
        result = self._sequence(body)
        self._scope = outer
        return result

    def _sequence(self, body: Sequence[ast.stmt]) -> s.Stmt:
        done: list[s.Stmt] = []
        for k, node in enumerate(body):
            bound = self._assignment(node)
            if bound is not None:
                done.append(bound(body[k + 1 :]))
                break
            done.append(self._stmt(node))
        return s.seq(*done)

    def _assignment(self, node: ast.stmt) -> Callable[[Sequence[ast.stmt]], s.Stmt] | None:
        """Give what makes a binding from the rest of its block, or None where `node` binds nothing."""
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("allocate")) as call):
                return lambda rest: self._allocate(name, call, rest)
            case ast.Assign([ast.Name(name)], value):
                return lambda rest: self._let(name, value, None, rest)
            case ast.AnnAssign(ast.Name(name), kind, value) if value is not None:
                return lambda rest: self._let(name, value, kind, rest)
            case _:
                return None

    def _allocate(self, name: str, call: ast.Call, body: Sequence[ast.stmt]) -> s.Stmt:
        match call.args:
            case [kind]:
                buffer = self._buffer(name, kind, call.keywords)
            case [kind, ast.Constant(str(scope))]:
                buffer = self._buffer(name, kind, call.keywords, scope)
            case _:
                raise self.refusal(call, 'allocate(float32[4, n]) or allocate(float32[4, n], "local")')
        self._scope[name] = buffer
        return s.Allocate(buffer, self._sequence(body))

    def _let(self, name: str, value: ast.expr, kind: ast.expr | None, body: Sequence[ast.stmt]) -> s.Stmt:
        if kind is None:
            node = self.expr(value)
            var = self._var(name, node.dtype, None)
        else:
            dtype, minimum = self._var_type(kind)
            node = self.expr(value, dtype)
            var = self._var(name, dtype, minimum)
        self._scope[name] = var
        return s.Let(var, node, self._sequence(body))

    def _stmt(self, node: ast.stmt) -> s.Stmt:
        match node:
            case ast.Assign([ast.Subscript(ast.Name(name), index)], value):
                buffer = self._buffer_named(name, node)
                return s.Store(buffer, self._indices(index), self.expr(value, buffer.dtype))
            case ast.For(ast.Name(name), ast.Call() as call, body, []):
                return self._for(name, call, body)
            case ast.If(test, then, orelse):
                otherwise = self.block(orelse) if orelse else None
                return s.If(self.expr(test, boolean), self.block(then), otherwise)
            case ast.With([ast.withitem(ast.Call(ast.Name(word)) as call, ast.Name(name))], body):
                return self._with(word, call, name, body)
            case ast.Expr(value):
                return s.Evaluate(self.expr(value))
            case ast.Pass():
                return s.Seq(())
            case _:
                raise self.refusal(node, "a loop, store, if, with, assignment or call")

    def _with(self, word: str, call: ast.Call, name: str, body: Sequence[ast.stmt]) -> s.Stmt:
        outer = dict(self._scope)
        match word, call.args:
            case "allocate", _:
                result = self._allocate(name, call, body)
            case "let", [value]:
                result = self._let(name, value, None, body)
            case "let", [value, kind]:
                result = self._let(name, value, kind, body)
            case _:
                raise self.refusal(call, "allocate(...) or let(value)")
        self._scope = outer
        return result

    def _for(self, name: str, call: ast.Call, body: Sequence[ast.stmt]) -> s.Stmt:
        match call:
            case ast.Call(ast.Name(word), args) if word in _LOOPS:
                kind, thread = _LOOPS[word], ""
            case _:
                raise self.refusal(call, " or ".join(f"{word}(extent)" for word in _LOOPS))
        match args:
            case [ast.Constant(str(thread)), *args]:
                pass
        if not 1 <= len(args) <= 2:
            raise self.refusal(call, f"{word}(extent) or {word}(extent, type)")
        extent = self.expr(args[0])
        dtype, minimum = self._var_type(args[1]) if len(args) == 2 else (extent.dtype, None)
        annotations = tuple(a for word in call.keywords for a in self._annotations(word))
        var = self._var(name, dtype, minimum)
        outer = dict(self._scope)
        self._scope[name] = var
        inner = self.block(body)
        self._scope = outer
        return s.For(var, extent, inner, kind, thread, annotations)

    def _annotations(self, word: ast.keyword) -> list[s.Annotation]:
        match word:
            case ast.keyword(None, ast.Dict(keys, values)):
                return [self._annotation(word, _number(k), v) for k, v in zip(keys, values, strict=True)]
            case ast.keyword(name, value):
                return [self._annotation(word, name, value)]

    def _annotation(self, word: ast.keyword, name: object, value: ast.expr) -> s.Annotation:
        match name, _number(value):
            case str(), int() | float() | str() as given:
                return s.Annotation(name, given)
            case _:
                raise self.refusal(word, "name=value, where the value is a number or a string")

    # Expressions

    def expr(self, node: ast.expr, hint: DType | None = None) -> e.Expr:
        """Give an expression whose bare literals have the type `hint` where no neighbour shows theirs."""
        match node:
            case ast.Constant() | ast.UnaryOp(ast.USub(), ast.Constant()):
                return self._literal(node, hint)
            case ast.Name(name):
                return self._named(name, node, e.Var, "variable")
            case ast.Subscript(ast.Name(name), index):
                return e.Load(self._buffer_named(name, node), self._indices(index))
            case ast.BinOp(a, op, b) if type(op) in _BINARY:
                hint = self._shown(a, b) or hint
                return _BINARY[type(op)](self.expr(a, hint), self.expr(b, hint))
            case ast.Compare(a, [op], [b]) if type(op) in _COMPARE:
                made, swapped = _COMPARE[type(op)]
                hint = self._shown(a, b)
                first, second = self.expr(a, hint), self.expr(b, hint)
                return made(second, first) if swapped else made(first, second)
            case ast.BoolOp(op, values):
                return self._connective(_CONNECTIVE[type(op)], values)
            case ast.UnaryOp(ast.Not(), a):
                return e.Not(self.expr(a, boolean))
            case ast.Call(ast.Name(name)):
                return self._call(name, node, hint)
            case _:
                raise self.refusal(node, "an expression of a loop nest")

    def _connective(self, made: type, values: Sequence[ast.expr]) -> e.Expr:
        result = self.expr(values[0], boolean)
        for value in values[1:]:
            result = made(result, self.expr(value, boolean))
        return result

    def _literal(self, node: ast.expr, hint: DType | None) -> e.Const:
        match _number(node):
            case bool(value):
                return e.Const(value, boolean)
            case int(value):
                return self._const(node, value, hint if hint is not None and hint != boolean else natural(value))
            case float(value):
                return self._const(node, value, hint if hint is not None and hint.is_float else natural(value))
            case _:
                raise self.refusal(node, "a number")

    def _const(self, node: ast.expr, value: int | float, dtype: DType) -> e.Const:
        match value:
            case _ if dtype.is_float:
                return e.Const(float(value), dtype)
            case int() if dtype.min_value <= value <= dtype.max_value:
                return e.Const(value, dtype)
            case _:
                raise self.refusal(node, f"an integer in the range of {dtype}")

    def _call(self, name: str, node: ast.Call, hint: DType | None) -> e.Expr:
        args = node.args
        if name in _DTYPES and len(args) == 1:
            return self._converted(_DTYPES[name], args[0])
        if name in _CHOICE and len(args) == 3:
            hint = self._shown(*args[1:]) or hint
            return _CHOICE[name](self.expr(args[0], boolean), *[self.expr(x, hint) for x in args[1:]])
        if name in _EXTREMUM and len(args) == 2:
            hint = self._shown(*args) or hint
            return _EXTREMUM[name](*[self.expr(x, hint) for x in args])
        if name == "address":
            match args:
                case [ast.Subscript(ast.Name(buffer), index)]:
                    return e.Address(self._buffer_named(buffer, node), self._indices(index))
        if name in {*_DTYPES, *_CHOICE, *_EXTREMUM, "address"}:
            raise self.refusal(
                node, "address(A[i])" if name == "address" else f"the right number of arguments of {name}"
            )
        inner = self._shown(*args) if follows_arguments(name) else None
        values = tuple(self.expr(x, inner) for x in args)
        return e.Call(name, values, self._given_dtype(node) or call_dtype(name, values))

    def _converted(self, dtype: DType, arg: ast.expr) -> e.Expr:
        match _number(arg):
            case None | bool():
                return e.Cast(self.expr(arg), dtype)
            case "inf" | "-inf" | "nan" as word if dtype.is_float:
                return self._const(arg, float(word), dtype)
            case str():
                raise self.refusal(arg, 'a number, or "inf", "-inf" or "nan" of a float type')
            case value:
                return self._const(arg, value, dtype)

    def _given_dtype(self, node: ast.Call) -> DType | None:
        match node.keywords:
            case []:
                return None
            case [ast.keyword("dtype", ast.Name(name))] if name in _DTYPES:
                return dtype_of(name)
            case _:
                raise self.refusal(node, "no keyword but dtype=type")

    def _indices(self, index: ast.expr) -> tuple[e.Expr, ...]:
        match index:
            case ast.Tuple(items):
                return tuple(map(self.expr, items))
            case _:
                return (self.expr(index),)

    def _buffer_named(self, name: str, node: ast.AST) -> Buffer:
        return self._named(name, node, Buffer, "buffer")

    def _named(self, name: str, node: ast.AST, kind: type[T], what: str) -> T:
        found = self._scope.get(name)
        if not isinstance(found, kind):
            raise self.refusal(node, f"a {what}, {name} is none here")
        return found

    def _find_shown(self, node: ast.expr) -> DType | None:
        match node:
            case ast.Name(name) | ast.Subscript(ast.Name(name)):
                found = self._scope.get(name)
                return None if found is None else found.dtype
            case ast.BinOp(a, _, b):
                return self._shown(a, b)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(ast.Not()):
                return boolean
            case ast.Call(ast.Name(name), args):
                return self._shown_by_call(name, node, args)
            case _:
                return None

    def _shown_by_call(self, name: str, node: ast.Call, args: Sequence[ast.expr]) -> DType | None:
        if name in _DTYPES:
            return None if args and _is_literal(args[0]) else _DTYPES[name]
        if name in _CHOICE:
            return self._shown(*args[1:])
        if name == "address":
            return int64
        given = self._given_dtype(node)
        if given is None and (name in _EXTREMUM or follows_arguments(name)):
            return self._shown(*args)
        return given or call_dtype(name, ())


def _names(node: ast.expr) -> list[str]:
    """Give the names in `node`, in Python's order of walking."""
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def _is_literal(node: ast.expr) -> bool:
    """Tell whether `node` is a literal of a type's own, and no value to convert."""
    match _number(node):
        case None | bool():
            return False
        case _:
            return True


def _number(node: ast.expr | None) -> int | float | bool | str | None:
    """Give the value of a literal, or None for anything else."""
    match node:
        case ast.Constant(bool(value) | int(value) | float(value) | str(value)):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int(value) | float(value))):
            return -value
        case _:
            return None
