"""A fault of the runtime as the error that people read."""

from __future__ import annotations

from ....ir.errors import (
    AlignmentFault,
    BoundsFault,
    CrashFault,
    DeadlockFault,
    DivergenceFault,
    EmulationFault,
    ProtocolFault,
    RaceFault,
    UninitialisedFault,
)
from .library import FaultRecord
from .orders import Mode, Order

_KINDS: tuple[tuple[type[EmulationFault], str], ...] = (
    (EmulationFault, ""),
    (RaceFault, "a barrier, or a wait for the copy, between the two accesses"),
    (BoundsFault, "a guard on the index, or a larger buffer"),
    (AlignmentFault, "a narrower access, or a start and strides that are multiples of its width"),
    (UninitialisedFault, "a store before this read, in the same thread or ordered by a barrier"),
    (DivergenceFault, "barriers, shuffles and matrix instructions where all threads of the group come to them"),
    (
        DeadlockFault,
        "as many arrivals and bytes as the barrier expects, and the parity of the phase that is waited for",
    ),
    (ProtocolFault, "the order that the PTX manual asks for"),
    (CrashFault, "tw_load and tw_store for each access: they say where it goes wrong"),
)


def fault(record: FaultRecord, kernel: str, text: str, order: Order, mode: Mode) -> EmulationFault:
    """Give the error of a record; `text` is the kernel's, whose lines it shows."""
    kind, advice = _KINDS[record.kind]
    place = f"  kernel {kernel}, block {_triple(record.block)}, thread {_triple(record.thread)}"
    where = [f"{place}; order {order}, {mode.name.lower()} asynchronous operations"]
    lines = text.splitlines()
    for mark, number in ((">", record.line), (" ", record.other_line)):
        if 0 < number <= len(lines):
            where.append(f"{mark} {number}: {lines[number - 1].strip()}")
    return kind("emulate", record.fact.decode(errors="replace"), "\n".join(where), advice)


def _triple(values: object) -> str:
    return str(tuple(values))  # type: ignore[arg-type]
