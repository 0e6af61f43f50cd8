"""What ptxas reports of each kernel: what it occupies, and what has gone wrong without being an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_KERNEL = re.compile(r"Compiling entry function '([^']+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_BARRIERS = re.compile(r"used (\d+) barriers")
_SHARED = re.compile(r"(\d+) bytes smem")
_REMARK = re.compile(r"\((C\d+)\) ?(.*)")
_NAMED = re.compile(r"function '([^']+)'")

_REMARKS = {  # numbered remarks of ptxas on what costs most of a kernel's speed
    "C7508": "setmaxnreg_ignored",
    "C7519": "wgmma_fence_added",  # where ours was missing
    **{f"C75{number}": "wgmma_serialized" for number in range(10, 19)},  # one for each reason
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What one thread (registers, stack, spills) and one block (shared memory, barriers) of a kernel occupy.

    The bytes spilled count each store and load instruction once.  shared_bytes is what the text declares with a size;
    dynamic shared memory is the launch's.
    """

    registers: int
    spill_stores: int  # bytes
    spill_loads: int  # bytes
    stack_bytes: int
    shared_bytes: int
    barriers: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that makes a kernel slow, in one sentence with its figures.

    kind    "spill", "stack", "wgmma_serialized", "wgmma_fence_added" or "setmaxnreg_ignored"
    kernel  its name, or "" where ptxas does not say it
    """

    kind: str
    kernel: str
    text: str


def read_resources(log: str) -> dict[str, Resources]:
    """Give the resources of each kernel by name, from what ptxas printed with -v, among whatever else is there."""
    blocks = _KERNEL.split(log)
    return {name: _resources(block) for name, block in zip(blocks[1::2], blocks[2::2], strict=True)}


def _resources(block: str) -> Resources:
    """Read one kernel's report; functions that were not inlined have frames of their own in it."""
    frames = [tuple(map(int, frame)) for frame in _FRAME.findall(block)]
    stack, stores, loads = zip(*frames, strict=True) if frames else ((0,), (0,), (0,))
    registers, barriers, shared = (_number(pattern, block) for pattern in (_REGISTERS, _BARRIERS, _SHARED))
    return Resources(registers, sum(stores), sum(loads), sum(stack), shared, barriers)


def _number(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.search(text)
    return int(match[1]) if match else 0


def read_faults(log: str, resources: Mapping[str, Resources], stack_bytes: int = 0) -> tuple[Fault, ...]:
    """Give what makes kernels slow: spills and stack frames of `resources`, and the remarks of `log`.

    stack_bytes  what a kernel may have of stack without a fault
    """
    return (*_frames(resources, stack_bytes), *_remarks(log, resources))


def _frames(resources: Mapping[str, Resources], stack_bytes: int) -> Iterator[Fault]:
    for name, used in resources.items():
        if used.spill_stores or used.spill_loads:
            spilled = f"{used.spill_stores} bytes stored and {used.spill_loads} loaded"
            yield Fault("spill", name, f"registers do not suffice: {spilled} by spills at {used.registers} registers")
        elif used.stack_bytes > stack_bytes:
            yield Fault("stack", name, f"{used.stack_bytes} bytes of stack: an array is not in registers")


def _remarks(log: str, resources: Mapping[str, Resources]) -> Iterator[Fault]:
    only = next(iter(resources)) if len(resources) == 1 else ""
    for code, text in _REMARK.findall(log):
        if code in _REMARKS:
            named = _NAMED.search(text)
            yield Fault(_REMARKS[code], named[1] if named else only, f"{text.strip()} ({code})")
