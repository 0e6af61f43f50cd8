"""Copies of statements with names of their own: names are unique in a function."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import cast

from ...ir.buffer import Buffer
from ...ir.expr import Address, Load, Var
from ...ir.stmt import Allocate, For, Let, Stmt, Store
from ...ir.visit import Node, of_kind, rewrite, with_fields

_NUMBERED = re.compile(r"_\d+$")


class Names:
    """The names of variables and buffers that a kernel body uses."""

    def __init__(self, body: Stmt) -> None:
        self._body = body

    @cached_property
    def _taken(self) -> set[str]:
        """Give the names in use, collected when the first new one is asked for."""
        taken: set[str] = set()
        for node in of_kind(self._body, Var, For, Let, Load, Store, Address, Allocate):
            match node:
                case Var(name=name):
                    taken.add(name)
                case For(var=var) | Let(var=var):
                    taken.add(var.name)
                case Load(buffer=buffer) | Store(buffer=buffer) | Address(buffer=buffer) | Allocate(buffer=buffer):
                    taken.add(buffer.name)
        return taken

    def fresh(self, stem: str) -> str:
        """Give an unused name that begins as `stem` does."""
        stem = _NUMBERED.sub("", stem)
        name, number = stem, 1
        while name in self._taken:
            name = f"{stem}_{number}"
            number += 1
        self._taken.add(name)
        return name

    def variable(self, var: Var) -> Var:
        """Give a new variable like `var`."""
        return replace(var, name=self.fresh(var.name))

    def copy(self, stmt: Stmt) -> Stmt:
        """Give `stmt` with new variables and buffers in place of those that it binds."""
        variables: dict[Var, Var] = {}
        buffers: dict[Buffer, Buffer] = {}
        for node in of_kind(stmt, For, Let, Allocate):
            match node:
                case For(var=var) | Let(var=var):
                    variables[var] = self.variable(var)
                case Allocate(buffer=buffer):
                    buffers[buffer] = replace(buffer, name=self.fresh(buffer.name))

        def rule(node: Node) -> Node | None:
            match node:
                case Var():
                    return variables.get(node)
                case For(var=var) | Let(var=var):
                    return with_fields(node, {"var": variables[var]})
                case Load(buffer=b) | Store(buffer=b) | Address(buffer=b) | Allocate(buffer=b) if b in buffers:
                    return with_fields(cast(Stmt, node), {"buffer": buffers[b]})
                case _:
                    return None

        return rewrite(stmt, rule)
