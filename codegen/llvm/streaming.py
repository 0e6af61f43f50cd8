"""Stores past the caches: what nothing reads soon is not fetched before it is written, nor does it push out what is.

Such a store needs an address that is a multiple of its size.  The address of an array of the caller is known when the
kernel runs, so a loop with the mark is written for each of `ALIGNMENTS`, and as it is for arrays that have none of
them.  On x86 these stores are seen by other threads in no order until a fence, with which every function that has
some ends.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.buffer import Buffer
from ...ir.stmt import For
from .body import Body
from .features import is_x86
from .types import Value, vector

MARK = "stream"  # annotation of a loop, with the name of a buffer
ALIGNMENTS = (64, 16)  # bytes: a line of a cache, and what every allocator gives for large arrays
ONE = "!2 = !{i32 1}\n\n"
Write = Callable[[], None]


def to_stream(body: Body, loop: For) -> tuple[Buffer, ...]:
    """Give the buffers that a loop is marked to stream and that are not decided about yet."""
    if not loop.annotations or body.pending is not None:
        return ()
    names = [a.value for a in loop.annotations if a.name == MARK]
    written = body.written(loop.body)
    marked = [b for b in body.touched(loop.body) if b in written and b.name in names]
    return tuple(b for b in marked if b in body.pointers and b not in body.streamed)


def write_streamed(body: Body, loop: For, buffers: tuple[Buffer, ...], write: Write) -> None:
    """Write the loop once for each alignment that the memory of the buffers may have."""
    from .control import branch  # it writes loops in turn

    unknown = [body.pointers[b] for b in buffers if body.align[b] < ALIGNMENTS[0]]

    def written_for(alignments: tuple[int, ...]) -> None:
        align, *others = (*alignments, 0)
        if not align or not unknown:
            _write_with(body, buffers, align, write)
            return
        aligned = (loop, lambda: _write_with(body, buffers, align, write))
        branch(body, _are_multiples(body, unknown, align), aligned, (loop, lambda: written_for(tuple(others))))

    written_for(ALIGNMENTS)


def _write_with(body: Body, buffers: tuple[Buffer, ...], align: int, write: Write) -> None:
    before = dict(body.align)
    for buffer in buffers:
        body.align[buffer] = max(before[buffer], align)
        body.streamed[buffer] = align
    write()
    body.align = before
    for buffer in buffers:
        del body.streamed[buffer]


def _are_multiples(body: Body, addresses: list[str], number: int) -> str:
    code = body.code
    numbers = [code.pure(f"ptrtoint ptr {address} to i64", address) for address in addresses]
    bits = numbers[0]
    for other in numbers[1:]:
        bits = code.pure(f"or i64 {bits}, {other}", bits, other)
    rest = code.pure(f"and i64 {bits}, {number - 1}", bits)
    return code.pure(f"icmp eq i64 {rest}, 0", rest)


def stream(body: Body, buffer: Buffer, value: Value, address: str, align: int) -> bool:
    """Store a vector past the caches in pieces of its alignment; tell whether it could be done."""
    size = buffer.dtype.bytes
    piece = min(body.streamed.get(buffer, 0), align, value.lanes * size)
    if piece < ALIGNMENTS[-1] or value.lanes * size % piece:
        return False
    body.module.definitions.setdefault("one", ONE)
    body.streams = True
    lanes = piece // size
    for first in range(0, value.lanes, lanes):
        part, place = value, address
        if lanes < value.lanes:
            picks = ", ".join(f"i32 {first + k}" for k in range(lanes))
            kind = f"<{lanes} x i32> <{picks}>"
            text = body.code.result(f"shufflevector {value.type} {value.text}, {value.type} poison, {kind}")
            part = Value(text, value.elem, lanes)
            place = body.code.local(f"getelementptr {value.elem}, ptr {address}, i64 {first}") if first else address
        body.code.effect(f"store {vector(part.elem, lanes)} {part.text}, ptr {place}, align {piece}, !nontemporal !2")
    return True


def fence(body: Body) -> None:
    """Let other threads see what was streamed, at the end of a function."""
    if body.streams and is_x86(body.target):
        body.code.effect(f"call void {body.module.declare('void', 'llvm.x86.sse.sfence')}()")
