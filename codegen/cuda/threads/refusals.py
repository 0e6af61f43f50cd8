"""Errors that show the place in the nest that they are about."""

from __future__ import annotations

from ....ir.buffer import Buffer
from ....ir.errors import CodegenError
from ....ir.expr import Call
from ....ir.intrinsics import INTRINSICS
from ....ir.printer import place_text
from ....ir.stmt import Allocate, Function, Stmt, Store
from ....ir.visit import inner_statements, of_kind, statements


def refusal(function: Function, about: Stmt | Buffer, fact: str, advice: str) -> CodegenError:
    """Give the error for a statement of a function, or for the one that allocates or first stores to a buffer."""
    place = _first(function, about) if isinstance(about, Buffer) else about
    where = "" if place is None else place_text(function, place)
    return CodegenError("cuda", fact, where=where, advice=advice)


def _first(function: Function, buffer: Buffer) -> Stmt | None:
    kinds = (Allocate, Store)
    return next((s for s in statements(function.body) if isinstance(s, kinds) and s.buffer is buffer), None)


def check_calls(function: Function) -> None:
    """Refuse calls of functions that the device language has not."""
    for stmt in statements(function.body):
        if any(inner_statements(stmt)):
            continue
        for call in of_kind(stmt, Call):
            if call.name not in INTRINSICS:
                fact = f"there is no function {call.name!r} on a GPU"
                raise refusal(function, stmt, fact, "an intrinsic of the language, or the expression written out")
