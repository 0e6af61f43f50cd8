"""Walking and rewriting trees of expressions and statements: the only traversal there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, partial
from operator import attrgetter
from typing import Any, TypeVar, cast

from .expr import Expr, Var
from .stmt import For, Let, Stmt

Node = Expr | Stmt
N = TypeVar("N", Expr, Stmt)
K = TypeVar("K", bound=Expr | Stmt)

_CHILD_TYPES = {"Expr", "Stmt", "Stmt | None"}
_TUPLE_TYPES = {"tuple[Expr, ...]", "tuple[Stmt, ...]"}
_Shape = tuple[tuple[str, bool], ...]  # names of the child fields of a class, and whether each is a tuple
_Below = Callable[[Any], Sequence[Any]]  # gives the children of a node
_BELOW: tuple[dict[type, _Below | None], ...] = ({}, {})  # by whether only statements count: what `_below` gives


@cache
def _shape(cls: type) -> _Shape:
    kinds = [(f.name, str(f.type)) for f in fields(cls)]
    return tuple((n, t in _TUPLE_TYPES) for n, t in kinds if t in _CHILD_TYPES or t in _TUPLE_TYPES)


@cache
def _statement_shape(cls: type) -> _Shape:
    return tuple((f.name, "tuple" in str(f.type)) for f in fields(cls) if "Stmt" in str(f.type))


def _below(cls: type, statements_only: bool) -> _Below | None:
    """Give a function of a node that gives its children, last first, None for a missing one; None for a leaf."""
    shape = (_statement_shape if statements_only else _shape)(cls)[::-1]
    names = tuple(name for name, _ in shape)
    below: _Below | None = None
    if len(names) > 1:
        below = partial(_of_fields, shape) if any(many for _, many in shape) else attrgetter(*names)
    elif names:
        only = attrgetter(*names)
        below = (lambda node: only(node)[::-1]) if shape[0][1] else (lambda node: (only(node),))
    _BELOW[statements_only][cls] = below
    return below


def _of_fields(shape: _Shape, node: Any) -> Sequence[Any]:
    found: list[Any] = []
    for name, many in shape:
        value = getattr(node, name)
        found += value[::-1] if many else (value,)
    return found


def children(node: Node) -> Iterator[Node]:
    """Give the direct sub-expressions and sub-statements, in order; loop variables and buffers are not among them."""
    return _parts(node, _shape(type(node)))


def _parts(node: Node, shape: tuple[tuple[str, bool], ...]) -> Iterator[Any]:
    for name, many in shape:
        value = getattr(node, name)
        if many:
            yield from value
        elif value is not None:
            yield value


def walk(node: Node, statements_only: bool = False) -> Iterator[Node]:
    """Give `node` and everything below it, parents first; a shared node is given once."""
    known = _BELOW[statements_only]
    seen: set[int] = set()
    stack: list[Any] = [node]
    while stack:
        here = stack.pop()
        if here is None or id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        cls = type(here)
        below = known[cls] if cls in known else _below(cls, statements_only)
        if below is not None:
            stack += below(here)


# From identity to (the node itself, kept alive so that its identity stays taken; its result).
Memo = dict[int, tuple[Node, Node]]


def of_kind(node: Node, *kinds: type[K]) -> Iterator[K]:
    """Give the nodes of these classes among `node` and everything below it, parents first."""
    return cast("Iterator[K]", (n for n in walk(node, _are_statements(kinds)) if type(n) in kinds))


def contains(node: Node, *kinds: type[Node]) -> bool:
    """Tell whether a node of these classes is among `node` and everything below it."""
    return any(map(kinds.__contains__, map(type, walk(node, _are_statements(kinds)))))


@cache
def _are_statements(kinds: tuple[type, ...]) -> bool:
    """Tell whether nodes of these classes are never below expressions."""
    return all(issubclass(kind, Stmt) for kind in kinds)


def variables(node: Node) -> set[Var]:
    """Give the variables that `node` reads."""
    return set(of_kind(node, Var))


def inner_statements(node: Node) -> Iterator[Stmt]:
    """Give the direct sub-statements, in order."""
    return _parts(node, _statement_shape(type(node)))


def statements(stmt: Stmt) -> Iterator[Stmt]:
    """Give `stmt` and the statements below it, parents first."""
    yield stmt
    for inner in inner_statements(stmt):
        yield from statements(inner)


def map_statements(stmt: Stmt, change: Callable[[Stmt], Stmt]) -> Stmt:
    """Give `stmt` with `change` applied to each direct sub-statement; the same object where all stay the same."""
    return _mapped(stmt, _statement_shape(type(stmt)), change)


def rewrite(node: N, rule: Callable[[Node], Node | None], memo: Memo | None = None) -> N:
    """Apply `rule` bottom-up.

    rule  gives the replacement of a node whose children are already rewritten, or None for "not mine"
    memo  results so far, to share between calls with the same rule
    The same object comes back where nothing changed; a node shared by several parents is rewritten once.
    """
    known: Memo = {} if memo is None else memo

    def change(node: Node) -> Node:
        done = known.get(id(node))
        if done is not None:
            return done[1]
        shape = _shape(type(node))
        rebuilt = _mapped(node, shape, change) if shape else node
        replaced = rule(rebuilt)
        result = rebuilt if replaced is None else replaced
        known[id(node)] = (node, result)
        return result

    return change(node)  # type: ignore[return-value]


def rewrite_statements(stmt: Stmt, rule: Callable[[Stmt], Stmt | None]) -> Stmt:
    """Apply `rule` bottom-up to statements, as `rewrite` does, and leave the expressions in them as they are."""
    rebuilt = map_statements(stmt, lambda inner: rewrite_statements(inner, rule))
    replaced = rule(rebuilt)
    return rebuilt if replaced is None else replaced


def map_children(node: K, change: Callable[[Any], Any]) -> K:
    """Give `node` with `change` applied to each child; the same object where every child stays the same."""
    return _mapped(node, _shape(type(node)), change)


def _mapped(node: K, shape: _Shape, change: Callable[[Any], Any]) -> K:
    changes: dict[str, Any] | None = None
    for name, many in shape:
        old = getattr(node, name)
        if many:
            new = tuple([change(x) for x in old])
            if new == old:  # nodes are equal only to themselves
                continue
        else:
            new = None if old is None else change(old)
            if new is old:
                continue
        if changes is None:
            changes = {}
        changes[name] = new
    return node if changes is None else with_fields(node, changes)


def with_fields(node: K, changes: Mapping[str, Any]) -> K:
    """Give a copy of `node` with some fields replaced."""
    cls = type(node)
    return cls(*[changes[name] if name in changes else getattr(node, name) for name in _names(cls)])


@cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


def substitute(node: N, values: Mapping[Var, Expr]) -> N:
    """Give `node` with each variable of `values` replaced; operators are rebuilt as they are, without folding."""
    if not values:
        return node
    return rewrite(node, values.get)  # type: ignore[arg-type]  # nodes hash by identity: what is no variable is absent


def free_vars(node: Node) -> list[Var]:
    """Give the variables read by `node` that no loop or let inside it binds, in order of first appearance."""
    bound = {id(n.var) for n in of_kind(node, For, Let)}  # names are unique in a function
    return [v for v in of_kind(node, Var) if id(v) not in bound]


def same(a: object, b: object) -> bool:
    """Tell whether two trees have the same structure, with variables and buffers compared by identity."""
    return _same(a, b, {})


def _same(a: object, b: object, memo: dict[tuple[int, int], bool]) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    match a, b:
        case tuple(), tuple():
            return len(a) == len(b) and all(_same(x, y, memo) for x, y in zip(a, b, strict=True))
        case float(), _:
            return repr(a) == repr(b)  # -0.0 is not 0.0, and one NaN is as good as another
        case Var(), _:
            return False
        case Expr() | Stmt(), _:
            key = (id(a), id(b))
            if key not in memo:
                memo[key] = all(_same(getattr(a, name), getattr(b, name), memo) for name in _names(type(a)))
            return memo[key]
        case _:
            return a == b
