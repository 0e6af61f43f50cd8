"""What the assembly text tells of a kernel: vector registers spilled to the stack inside its hot loop.

LLVM's comments say of each block what loop it lies in and how deep that is, and which instructions are spills.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WORTH_A_SPILL = 20  # instructions beside which one more store does not count
TURNS = 8  # of a loop, where nothing but its place is known: fewer than most loops make
_VECTOR = re.compile(r"%[xyz]mm\d+|\b[qvz]\d+\b|\bv\d+\.")
_ARITHMETIC = re.compile(r"^v?f?n?m(?:add|la|sub)|^vpdp|^v?p?mull?|^v?p?add|^v?subp|^f(?:mla|madd)|^[su]?dot", re.I)
_LABEL = re.compile(r"^([.\w$]+):")
_BLOCK = re.compile(r"^\.L(BB\w+):|^\s*(?:#|//) %bb\.\d+:")
_INNERMOST = re.compile(r"(?:#|//)\s*=>\s*This Inner Loop Header: Depth=(\d+)")
_WITHIN = re.compile(r"(?:#|//)\s+in Loop: Header=(BB\w+) ")


@dataclass(slots=True)
class _Loop:
    """A loop without loops inside: the loops around it and itself, its instructions, those of them that are vector
    arithmetic, and its spilled vectors."""

    depth: int
    instructions: int = 0
    arithmetic: int = 0
    spills: int = 0

    def count(self, line: str) -> None:
        """Add a line."""
        self.instructions += line.startswith("\t") and not line.startswith("\t.")
        if _VECTOR.search(line):
            self.arithmetic += _ARITHMETIC.match(line.strip()) is not None
            self.spills += " Spill" in line


def spills_in_hot_loop(assembly: str, name: str) -> int:
    """Count the instructions that move a vector to the stack in the hot loop of function `name`.

    The hot loop is the innermost one that does most vector arithmetic, among the function and its parallel bodies, if
    every loop makes `TURNS` turns: what lies two loops deeper is hot beside a longer piece that is written out, as the
    products of Winograd's convolutions are beside their transforms.
    A function without loops counts 0, and so does a loop with one spill in `WORTH_A_SPILL` instructions: it holds the
    constants and temporaries of functions such as erf, or the weights of a tile that is written out several times, and
    is no slower for that.  What is only loaded from the stack does not change in the loop.
    """
    loops = [loop for lines in _functions(assembly, name) for loop in _innermost(lines)]
    if not loops:
        return 0
    hot = max(loops, key=lambda loop: loop.arithmetic * TURNS**loop.depth)
    return hot.spills if hot.spills * WORTH_A_SPILL > hot.instructions else 0


def _functions(assembly: str, name: str) -> list[list[str]]:
    """Give the lines of the function and of those whose names continue its name by a dot."""
    found: list[list[str]] = []
    inside = False
    for line in assembly.splitlines():
        label = _LABEL.match(line)
        if label and not label.group(1).startswith(".L"):
            inside = label.group(1) == name or label.group(1).startswith(f"{name}.")
            if inside:
                found.append([])
        if inside:
            found[-1].append(line)
    return found


def _innermost(lines: list[str]) -> list[_Loop]:
    """Give the innermost loops of a function, with all blocks that lie in them."""
    loops: dict[str, _Loop] = {}
    label, current = "", None
    for line in lines:
        if block := _BLOCK.match(line):
            label, current = block.group(1) or "", None
        if header := _INNERMOST.search(line):
            current = loops.setdefault(label, _Loop(int(header.group(1))))
        elif within := _WITHIN.search(line):
            current = loops.get(within.group(1))
        elif current is not None:
            current.count(line)
    return list(loops.values())
