"""Register cells: buffers that live in SSA values, through structured control flow.

A cell is a run of neighbouring elements of a buffer that is one scalar or one vector.  A loop gets a phi for a cell
when its body reads the cell before writing it; an if merges what its branches wrote.
Source: Braun et al., "Simple and Efficient Construction of Static Single Assignment Form", CC 2013, without its
unsealed blocks, which structured control flow does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...ir.buffer import Buffer


class Cell(NamedTuple):
    """Elements first .. first + lanes - 1 of a buffer, in row-major order, as one value."""

    buffer: Buffer
    first: int
    lanes: int


@dataclass
class _Scope:
    """Values that cells were given within one region; `written` is None unless the region is a loop body."""

    values: dict[Cell, str] = field(default_factory=dict)
    written: frozenset[Buffer] | None = None
    phis: dict[Cell, str] = field(default_factory=dict)
    fresh: Callable[[], str] | None = None


class Cells:
    """The current value of every cell."""

    def __init__(self) -> None:
        self._scopes = [_Scope()]

    def read(self, cell: Cell) -> str:
        """Give the value of `cell`; of one never written it is poison."""
        return self._read(cell, len(self._scopes))

    def _read(self, cell: Cell, end: int) -> str:
        for depth in range(end - 1, -1, -1):
            scope = self._scopes[depth]
            value = scope.values.get(cell)
            if value is not None:
                return value
            if scope.written is not None and cell.buffer in scope.written:
                assert scope.fresh is not None
                phi = scope.phis[cell] = scope.values[cell] = scope.fresh()
                return phi
        return "poison"

    def write(self, cell: Cell, value: str) -> None:
        """Give `cell` a value."""
        self._scopes[-1].values[cell] = value

    def enter_loop(self, written: frozenset[Buffer], fresh: Callable[[], str]) -> None:
        """Enter a loop body that writes the buffers `written`; `fresh` gives names for its phis."""
        self._scopes.append(_Scope(written=written, fresh=fresh))

    def leave_loop(self) -> tuple[list[tuple[Cell, str, str, str]], list[str]]:
        """Leave the loop body: its values hold from here on.

        Gives the phis: (cell, name, value before the loop, value at the end of the body), and the names now known
        outside the loop.
        """
        scope = self._scopes.pop()
        phis = []
        for cell, name in scope.phis.items():
            phis.append((cell, name, self._read(cell, len(self._scopes)), scope.values[cell]))
        self._scopes[-1].values.update(scope.values)
        return phis, list(scope.values.values())

    def enter_branch(self) -> None:
        """Enter a branch of an if."""
        self._scopes.append(_Scope())

    def leave_branch(self) -> dict[Cell, str]:
        """Leave the branch and give what it wrote."""
        return self._scopes.pop().values
