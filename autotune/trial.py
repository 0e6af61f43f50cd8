"""What a trial is: its task's key, and what building and measuring one configuration gave."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a trial ended: the first step that failed, or OK."""

    OK = "ok"
    INSTANTIATE = "instantiate"  # the template or a schedule step refused
    LOWER = "lower"  # no loop nest
    LIMIT = "limit"  # it exceeds a limit of the machine
    SCREEN = "screen"  # its figures say that it is slow: not worth compiling
    CODEGEN = "codegen"  # no machine code
    COMPILE_TIMEOUT = "compile_timeout"
    LLVM_ABORT = "llvm_abort"  # the compiler died
    SPILL = "spill"  # the compiler had to spill registers, or says that it is slow: not worth measuring
    CRASH = "crash"  # the kernel died
    RUN_TIMEOUT = "run_timeout"
    WRONG_RESULT = "wrong_result"
    MEMORY = "memory"  # it needs more than there is


@dataclass(frozen=True, slots=True)
class TaskKey:
    """What must be equal for measurements to be comparable.

    expression  content hash of the tensor expression
    target      as text
    machine     fingerprint of the processor that measured
    codegen     fingerprint of the compiler
    template    name and version
    space       fingerprint of the knobs and their candidates
    threads     threads that a kernel may use
    """

    expression: str
    target: str
    machine: str
    codegen: str
    template: str
    space: str
    threads: int = 1

    @property
    def digest(self) -> str:
        """Give a name of 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: TaskKey) -> list[str]:
        """Give the fields that differ, each as `field: here, there`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: {mine}, recorded {theirs}" for name, mine, theirs in pairs if mine != theirs]


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration built and measured, or why not.

    index          configuration number
    entities       its decisions: [[knob, kind, value], ...]
    steps          its schedule as JSON text, "" if it was never made
    seconds        samples of the time of one call, interleaved with the peak loop
    median_s       their median, None for failures
    interval_s     (low, high) that holds the true median with 95 % confidence
    max_rel_error  largest error against direct evaluation, relative to the value or the root mean square of all
    gflops         from the median
    peak_gflops    measured next to it; 0 if it was not
    duplicate      the machine code is that of an earlier trial, which was not measured again
    phase          "search", or "final" for the re-measurement of the best
    timestamp      seconds since 1970
    session        names the run
    """

    index: int
    status: Status
    entities: list[Any] = field(default_factory=list)
    steps: str = ""
    seconds: list[float] = field(default_factory=list)
    median_s: float | None = None
    interval_s: tuple[float, float] | None = None
    error: str = ""
    max_rel_error: float | None = None
    gflops: float = 0.0
    peak_gflops: float = 0.0
    duplicate: bool = False
    effort: str = "quick"
    phase: str = "search"
    code_hash: str = ""
    timestamp: float = 0.0
    session: str = ""
    seed: int = 0

    @property
    def cost_s(self) -> float:
        """Give the time of one call that the search goes by, infinite for failures.

        The least of the short batches: on a shared machine it varies ten times less than their median.
        """
        return min(self.seconds) if self.seconds else float("inf") if self.median_s is None else self.median_s
