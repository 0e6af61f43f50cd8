"""What is known of a kernel's speed before it is compiled, and what rules it out.

Each access to global memory costs a warp as many sectors of 32 bytes as its lanes touch; each access to shared memory
takes as many turns as there are different words in the busiest of the 32 banks.  Wide accesses are served in parts:
those of 8 bytes a lane by half warps, of 16 bytes by quarters.
Source: CUDA C++ Programming Guide 13.0, "Global Memory" and "Shared Memory" under each compute capability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod

import numpy as np

from ....ir.gpu import BANKS, MOST_REGISTERS, REGISTERS, SECTOR_BYTES, WARP
from ....ir.target import Target
from ..kernel import Kernel
from ..text.shared_memory import shared_layout
from .traffic import Access, Traffic, traffic

WORD_BYTES = 4
BASE_REGISTERS = 24  # of a thread, for addresses and loop counters ...
REGISTERS_PER_WORD = 1.2  # ... and of what its arrays hold, fitted to what ptxas reports of products of matrices
LEAST_REGISTERS = 16  # that no kernel does without, besides its arrays
HOT = 0.25  # an access is hot that takes at least this share of all turns of the banks
MOST_CONFLICT = 2.0  # turns of a hot access to shared memory


@dataclass(frozen=True, slots=True)
class AccessScreen:
    """One access of a kernel, as the hardware sees it; means over the warps and loop steps that were looked at.

    kind      "load", "store", or the intrinsic's name
    bytes     that each lane moves
    trips     how often a thread executes it
    requests  sectors (global) or turns of the banks (shared) of one execution by a warp
    ideal     the fewest that could move the same bytes
    """

    buffer: str
    scope: str
    kind: str
    bytes: int
    trips: float
    requests: float
    ideal: float

    @property
    def waste(self) -> float:
        """Give how many times the ideal it costs: the degree of bank conflicts, or the share of bytes for nothing."""
        return self.requests / self.ideal


@dataclass(frozen=True, slots=True)
class GpuScreens:
    """The figures of one kernel; those of memory and arithmetic are of one block.

    blocks           of the grid
    registers        of a thread, estimated from its arrays: within a fifth of what the compiler takes
    resident         blocks that a multiprocessor holds at a time
    waves            of blocks that it takes to run the grid
    statements       with written-out loops
    global_bytes     asked for by threads and bulk copies
    sector_bytes     moved for them
    shared_moved     bytes asked for by threads of shared memory
    turns            of the shared memory's banks
    """

    kernel: str
    threads: int
    blocks: float
    shared_bytes: int
    local_bytes: float
    registers: int
    resident: int
    occupancy: float
    waves: float
    statements: int
    barriers: float
    flops: float
    global_bytes: float
    sector_bytes: float
    shared_moved: float
    turns: float
    accesses: tuple[AccessScreen, ...]

    @property
    def coalescing(self) -> float:
        """Give the share of what global memory moves that could not be spared, from 0 to 1."""
        ideal, cost = _sums(self.of("global"))
        return ideal / cost if cost else 1.0

    @property
    def conflict(self) -> float:
        """Give the mean degree of bank conflicts, by executions; 1 is none."""
        ideal, cost = _sums(self.of("shared"))
        return cost / ideal if ideal else 1.0

    @property
    def hot_conflict(self) -> float:
        """Give the worst degree of bank conflicts of the accesses on which most turns of the banks are spent."""
        return max((access.waste for access in self.hot), default=1.0)

    @property
    def hot(self) -> tuple[AccessScreen, ...]:
        """Give the accesses to shared memory on which most turns of the banks are spent."""
        shared = self.of("shared")
        _, turns = _sums(shared)
        return tuple(access for access in shared if access.trips * access.requests >= HOT * turns)

    @property
    def intensity(self) -> float:
        """Give the operations for each byte that global memory moves."""
        return self.flops / self.sector_bytes if self.sector_bytes else self.flops

    def of(self, scope: str) -> tuple[AccessScreen, ...]:
        """Give the accesses to one kind of memory."""
        return tuple(access for access in self.accesses if access.scope == scope)

    def features(self) -> dict[str, float]:
        """Give what a cost model learns from, by name: amounts as logarithms to the base 2, shares as they are."""
        amounts = {name: _log(getattr(self, name)) for name in _AMOUNTS}
        return amounts | {name: float(getattr(self, name)) for name in _SHARES}


_AMOUNTS = (
    "threads", "blocks", "shared_bytes", "local_bytes", "registers", "statements", "barriers", "flops", "global_bytes",
    "sector_bytes", "shared_moved", "turns", "intensity", "waves",
)  # fmt: skip
_SHARES = ("resident", "occupancy", "coalescing", "conflict", "hot_conflict")
FEATURE_NAMES = (*_AMOUNTS, *_SHARES)


@dataclass(frozen=True, slots=True)
class ScreenFailure:
    """A figure that rules a kernel out.

    name   of the figure
    value  what it is
    limit  what it may be at most
    fact   one sentence with both
    """

    name: str
    value: float
    limit: float
    fact: str


def screen(kernel: Kernel, target: Target, counted: Traffic | None = None) -> GpuScreens:
    """Give the figures of a kernel.  Raises TargetError for a target that names no GPU.

    counted  what `traffic(kernel)` gave, if it is known
    """
    gpu, found = target.gpu, counted or traffic(kernel)
    accesses = [*_of_scope(found.accesses, "global"), *_of_scope(found.accesses, "shared")]
    _, shared_bytes = shared_layout(kernel)
    registers = BASE_REGISTERS + ceil(REGISTERS_PER_WORD * found.local_bytes / 4)
    resident = gpu.resident_blocks(kernel.threads, min(registers, MOST_REGISTERS), shared_bytes)
    warps, blocks = ceil(kernel.threads / WARP), found.blocks
    in_global, in_shared = ([(a, s) for a, s in accesses if s.scope == scope] for scope in ("global", "shared"))
    return GpuScreens(
        kernel=kernel.name,
        threads=kernel.threads,
        blocks=blocks,
        shared_bytes=shared_bytes,
        local_bytes=found.local_bytes,
        registers=registers,
        resident=resident,
        occupancy=resident * warps / gpu.warps,
        waves=blocks / (max(1, resident) * gpu.multiprocessors),
        statements=found.statements,
        barriers=found.barriers,
        flops=found.flops * kernel.threads,
        global_bytes=sum(_bytes(a) for a, _ in in_global) * kernel.threads + found.bulk_bytes,
        sector_bytes=sum(s.trips * s.requests for _, s in in_global) * SECTOR_BYTES * warps + found.bulk_bytes,
        shared_moved=sum(_bytes(a) for a, _ in in_shared) * kernel.threads,
        turns=sum(s.trips * s.requests for _, s in in_shared) * warps,
        accesses=tuple(s for _, s in accesses),
    )


def heaviest(figures: Sequence[GpuScreens]) -> GpuScreens:
    """Give the figures of the kernel, of those of one program, that has most to do."""
    return max(figures, key=lambda f: f.blocks * (f.flops + f.sector_bytes + f.turns * WORD_BYTES * BANKS))


def screen_failures(figures: GpuScreens, target: Target) -> list[ScreenFailure]:
    """Give what makes a kernel not worth compiling: each would fail, or lose most of its speed.

    Raises TargetError for a target that names no GPU.
    """
    gpu = target.gpu
    worst = max(figures.hot, key=lambda access: access.waste, default=None)
    registers = LEAST_REGISTERS + ceil(figures.local_bytes / 4)
    conflict = f"{worst.kind} of {worst.buffer}" if worst else ""
    tests = (
        ("hot_conflict", figures.hot_conflict, MOST_CONFLICT, f"turns of the banks for each {conflict}"),
        ("shared_bytes", figures.shared_bytes, gpu.shared_bytes, "bytes of shared memory for a block"),
        ("registers", registers, MOST_REGISTERS, "registers for a thread, by its arrays"),
        ("block_registers", registers * figures.threads, REGISTERS, "registers for a block, by its arrays"),
    )
    return [
        ScreenFailure(name, value, limit, f"{value:g} {what}, at most {limit:g}")
        for name, value, limit, what in tests
        if value > limit
    ]


def _of_scope(accesses: Sequence[Access], scope: str) -> list[tuple[Access, AccessScreen]]:
    """Give the accesses to one kind of memory with their costs."""
    cost = _sectors if scope == "global" else _turns
    chosen = [access for access in accesses if access.buffer.scope == scope]
    found: list[tuple[Access, AccessScreen]] = []
    for width in sorted({access.bytes for access in chosen}):
        same = [access for access in chosen if access.bytes == width]
        requests, ideal = cost(np.stack([a.offsets for a in same]), np.stack([a.active for a in same]), width)
        for access, r, i in zip(same, requests, ideal, strict=True):
            shown = AccessScreen(access.buffer.name, scope, access.kind, width, access.trips, float(r), float(i))
            found.append((access, shown))
    return found


def _sectors(offsets: np.ndarray, active: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the sectors that requests touch, and how few would hold the bytes: (accesses,) each."""
    parts = _parts(width)
    places = _padded(offsets, active, parts)
    sectors = _distinct(places // SECTOR_BYTES).sum(axis=-1)
    wanted = np.ceil(_distinct(places).sum(axis=-1) * width / SECTOR_BYTES)
    return _mean(sectors, active), _mean(wanted, active)


def _turns(offsets: np.ndarray, active: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the turns of the banks that requests take, and the fewest possible: (accesses,) each."""
    parts = _parts(width)
    words = _padded(offsets, active, parts)[..., None] // WORD_BYTES + np.arange(max(1, width // WORD_BYTES))
    words = np.sort(words.reshape(*words.shape[:-2], -1), axis=-1)
    first = _distinct(words, ordered=True)
    rows = prod(words.shape[:-1])
    banks = np.arange(rows).reshape(*words.shape[:-1], 1) * BANKS + words % BANKS
    counts = np.bincount(banks.ravel(), first.ravel(), rows * BANKS).reshape(*words.shape[:-1], BANKS)
    return _mean(counts.max(axis=-1), active), _mean(np.ones(words.shape[:-1]), active)


def _parts(width: int) -> int:
    """Give in how many parts a warp's access of `width` bytes a lane is served."""
    return max(1, width * WARP // (BANKS * WORD_BYTES))


def _padded(offsets: np.ndarray, active: np.ndarray, parts: int) -> np.ndarray:
    """Give (accesses, points, parts, lanes) with the lanes that do not take part where the first that does is."""
    shape = (*offsets.shape[:-1], parts, WARP // parts)
    offsets, active = offsets.reshape(shape), active.reshape(shape)
    first = np.take_along_axis(offsets, active.argmax(axis=-1)[..., None], axis=-1)
    return np.where(active, offsets, first)


def _distinct(values: np.ndarray, ordered: bool = False) -> np.ndarray:
    """Mark one of each group of equal values along the last axis, in ascending order."""
    values = values if ordered else np.sort(values, axis=-1)
    marks = np.ones(values.shape, bool)
    marks[..., 1:] = values[..., 1:] != values[..., :-1]
    return marks


def _mean(of_parts: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Give for each access the sum over the parts of a warp that take part, as the mean over the points that do."""
    takes = active.reshape(*of_parts.shape, -1).any(axis=-1)
    points = takes.any(axis=-1).sum(axis=-1)
    return (of_parts * takes).sum(axis=(-1, -2)) / np.maximum(1, points)


def _bytes(access: Access) -> float:
    return access.trips * access.bytes * access.share


def _sums(accesses: Sequence[AccessScreen]) -> tuple[float, float]:
    return sum(a.trips * a.ideal for a in accesses), sum(a.trips * a.requests for a in accesses)


def _log(amount: float) -> float:
    return log2(1 + amount)
