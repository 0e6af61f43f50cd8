"""Calls of kernels, recorded with their right answers, and the bytes in which a program exchanges them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.autotune.reference import Reference
from tilewright.ir.stmt import Function


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel with its arguments, and what it must give.

    title      for people
    reference  the arrays by position, and the right values of those that are written
    """

    title: str
    function: Function
    reference: Reference


def recorded(calls: Sequence[Call]) -> bytes:
    """Give what the program reads: see `main.c`."""
    parts: list[bytes] = []
    for number, call in enumerate(calls):
        call.reference.poison()
        arrays = call.reference.arrays
        parts.append(struct.pack("<qq", number, len(arrays)))
        for position, array in enumerate(arrays):
            parts += [struct.pack("<qq", array.nbytes, position in call.reference.expected), array.tobytes()]
    return b"".join(parts)


def faults(calls: Sequence[Call], answers: bytes) -> list[str]:
    """Give a sentence for each call whose answer is not right."""
    found, place = [], 0
    for call in calls:
        written = [call.reference.arrays[position] for position in sorted(call.reference.expected)]
        if place + 16 + sum(array.nbytes for array in written) > len(answers):
            found.append(f"{call.title}: no answer")
            place = len(answers)
            continue
        status, harmed = struct.unpack_from("<qq", answers, place)
        place += 16
        for array in written:
            array[...] = np.frombuffer(answers, array.dtype, array.size, place).reshape(array.shape)
            place += array.nbytes
        error, near = call.reference.verdict()
        if status or harmed or not near:
            outside = ", wrote where it must not" if harmed else ""
            found.append(f"{call.title}: status {status}, relative error {error:.2e}{outside}")
    return found
