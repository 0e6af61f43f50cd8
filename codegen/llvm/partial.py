"""Bytes of which some lanes are read, on processors that cannot mask bytes: windows that overlap, moved to their lanes.

    lanes 3 .. 31 of 32        low   bytes 3 .. 18, moved up by 3
                               high  bytes 16 .. 31

LLVM would read them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .body import Body
from .features import has, is_x86
from .types import Value

PIECE = 16  # bytes that one instruction moves anywhere among themselves
MOST = 2 * PIECE  # bytes of a register that cannot be masked

Read = Callable[[int, int], str]  # the name of so many bytes, read from a lane's place on


def is_partial(body: Body, elem: str, known: Sequence[bool]) -> bool:
    """Tell whether lanes that are known to be active are neighbours, and bytes that nothing else can read at once.

    Where no instruction moves bytes anywhere, to put a few of them together is no better than one by one.
    """
    if elem != "i8" or has(body.target, "avx512bw") or not any(known) or len(known) > MOST:
        return False
    first, end = _ends(known)
    least = 1 if has(body.target, "avx") or not is_x86(body.target) else PIECE // 2
    return end - first >= least and all(known[first:end])


def read_partial(body: Body, known: Sequence[bool], read: Read) -> Value:
    """Give the active lanes; the others are undefined."""
    first, end = _ends(known)
    lanes = len(known)
    if lanes <= PIECE:
        return _piece(body, 0, lanes, (first, end), read)
    low = _piece(body, 0, PIECE, (first, end), read)
    high = _piece(body, PIECE, PIECE, (first, end), read)
    return _shuffled(body, low.text, high.text, PIECE, list(range(lanes)))


def _ends(known: Sequence[bool]) -> tuple[int, int]:
    first = list(known).index(True)
    return first, first + sum(known)


def _piece(body: Body, begin: int, lanes: int, active: tuple[int, int], read: Read) -> Value:
    """Give lanes from `begin` on, read from within those that are active."""
    first, end = max(begin, active[0]), min(begin + lanes, active[1])
    if first >= end:
        return Value("poison", "i8", lanes)
    size = max(k for k in (1, 2, 4, 8, PIECE) if k <= min(active[1] - active[0], lanes))
    starts = [min(max(begin, active[0]), active[1] - size)]
    if starts[0] + size < end:
        starts.append(end - size)
    windows = [read(start, size) for start in starts]
    if size == lanes and starts == [begin]:
        return Value(windows[0], "i8", lanes)
    picks: list[int | None] = [None] * lanes
    for lane in range(first, end):
        number = 0 if lane < starts[0] + size else 1
        picks[lane - begin] = number * size + lane - starts[number]
    return _shuffled(body, windows[0], windows[-1], size, picks)


def _shuffled(body: Body, first: str, second: str, size: int, picks: Sequence[int | None]) -> Value:
    kind = f"<{size} x i8>"
    listed = ", ".join("i32 poison" if k is None else f"i32 {k}" for k in picks)
    text = f"shufflevector {kind} {first}, {kind} {second}, <{len(picks)} x i32> <{listed}>"
    return Value(body.code.result(text), "i8", len(picks))
