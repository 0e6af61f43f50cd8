"""The text of one LLVM function while it is written: instructions, basic blocks, and values that need no second one.

The function is a tree of regions (loop bodies, branches of ifs).  A pure instruction is written in the outermost
region that knows all its operands, just before the region on the way to the current one is entered: so loop
invariants stand outside their loops without an optimiser, and an equal instruction is written once per region.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

Lines = list["str | Lines"]  # nested, so that text can still be added at an earlier place


class Code:
    """Instructions of one function in order, with names and levels of their results.

    block   label of the basic block being written
    allocas where stack slots go: the head of the entry block
    splats  for each scalar its broadcasts, by number of lanes
    names   how many names are given away; a function that takes over values of another begins where that stands
    """

    def __init__(self, first_name: int = 0) -> None:
        self.allocas: Lines = []
        self.lines: Lines = [self.allocas]
        self.block = "entry"
        self.splats: dict[str, dict[int, str]] = {}
        self._written: list[dict[str, str]] = [{}]  # per region: instruction -> name of its result
        self._before: list[Lines] = [self.allocas]  # per region: place just before it is entered
        self._level: dict[str, int] = {}  # name -> depth of the region that knows it; absent means everywhere
        self.names = first_name

    @property
    def level(self) -> int:
        """Give the depth of the current region; the function's body is 0."""
        return len(self._written) - 1

    def level_of(self, name: str) -> int:
        """Give the depth of the region in which `name` is known."""
        return self._level.get(name, 0)

    def fresh(self, stem: str = "v", level: int | None = None) -> str:
        """Give a new SSA name, known in the current region or in the one of depth `level` around it."""
        self.names += 1
        name = f"%{stem}{self.names}"
        self._level[name] = len(self._written) - 1 if level is None else level
        return name

    def lift(self, name: str) -> None:
        """Declare that `name`, from a region that has ended, is known in the current one."""
        if name in self._level:
            self.splats.pop(name, None)  # made in the region that has ended
            self._level[name] = min(self._level[name], len(self._written) - 1)

    def pure(self, text: str, *operands: str) -> str:
        """Give the result of an instruction without effects that reads the names `operands`."""
        known, depth = self._level, 0
        for name in operands:
            level = known.get(name, 0)
            if level > depth:
                depth = level
        return self._once(text, depth)

    def local(self, text: str) -> str:
        """Give the result of an instruction without effects, written in the current region."""
        return self._once(text, len(self._written) - 1)

    def _once(self, text: str, depth: int) -> str:
        known = self._written[depth]
        name = known.get(text)
        if name is None:
            self.names += 1
            name = known[text] = f"%v{self.names}"
            self._level[name] = depth
            here = self.lines if depth == len(self._written) - 1 else self._before[depth + 1]
            here.append(f"  {name} = {text}")
        return name

    def result(self, text: str, stem: str = "v") -> str:
        """Give the result of an instruction that must stand exactly here, such as a load."""
        name = self.fresh(stem)
        self.lines.append(f"  {name} = {text}")
        return name

    def effect(self, text: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, stem: str) -> str:
        """Give a new block label."""
        self.names += 1
        return f"{stem}{self.names}"

    def begin(self, label: str) -> None:
        """Begin the block called `label`."""
        self.lines.append(f"{label}:")
        self.block = label

    def place(self) -> Lines:
        """Give a place in the current block that can be filled later."""
        lines: Lines = []
        self.lines.append(lines)
        return lines

    @contextmanager
    def region(self, before: Lines) -> Iterator[None]:
        """Enter a region; `before` is a place that dominates it, in the region around it."""
        self._written.append({})
        self._before.append(before)
        yield
        self._written.pop()
        self._before.pop()

    def text(self) -> str:
        """Give all lines."""
        flat: list[str] = []
        _flatten(self.lines, flat)
        return "\n".join(flat)


def _flatten(lines: Lines, into: list[str]) -> None:
    for line in lines:
        if isinstance(line, str):
            into.append(line)
        else:
            _flatten(line, into)
