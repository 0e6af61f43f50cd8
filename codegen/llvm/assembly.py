"""What the assembly text tells of a kernel: vector registers spilled to the stack inside its hot loop."""

from __future__ import annotations

import re

WORTH_A_SPILL = 25  # arithmetic instructions beside which one more store does not count
_TO_STACK = re.compile(r",\s*-?\d*\(%rsp\)\s*(?:#.*)?$|^\s*st[pr]\b.*\[sp\b")
_VECTOR = re.compile(r"%[xyz]mm\d+|\b[qvz]\d+\b|\bv\d+\.")
_ARITHMETIC = re.compile(r"^v?f?n?m(?:add|la|sub)|^vpdp|^v?p?mull?|^v?p?add|^v?subp|^f(?:mla|madd)|^[su]?dot", re.I)
_LABEL = re.compile(r"^([.\w$]+):")


def spills_in_hot_loop(assembly: str, name: str) -> int:
    """Count the instructions that move a vector to the stack in the hot loop of function `name`.

    The hot loop is the innermost one with most vector arithmetic, among the function and its parallel bodies.
    A function without loops counts 0, and so does a loop that does far more arithmetic: it holds the constants and
    temporaries of functions such as erf.  What is only loaded from the stack does not change in the loop.
    """
    loops = [loop for lines in _functions(assembly, name) for loop in _innermost(lines)]
    if not loops:
        return 0
    hot = max(loops, key=lambda lines: sum(_is_arithmetic(line) for line in lines))
    spills = sum(1 for line in hot if _TO_STACK.search(line) and _VECTOR.search(line))
    return spills if spills * WORTH_A_SPILL > sum(map(_is_arithmetic, hot)) else 0


def _is_arithmetic(line: str) -> bool:
    return _VECTOR.search(line) is not None and _ARITHMETIC.match(line.strip()) is not None


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


def _innermost(lines: list[str]) -> list[list[str]]:
    """Give the innermost loops: from a label to a later jump back to it, with no such pair inside."""
    places = {m.group(1): n for n, line in enumerate(lines) if (m := _LABEL.match(line))}
    spans: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        words = line.split()
        if words and not _LABEL.match(line):
            target = places.get(words[-1])
            if target is not None and target <= number:
                spans.append((target, number))
    inner = [s for s in spans if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    return [lines[begin : end + 1] for begin, end in inner]
