"""Every error a user can meet.

    Error                     base class: which step, what fact, where, what to do
    +-- TypeMismatch          data types or ranks that do not fit together
    +-- ExpressionError       a tensor expression that means nothing
    +-- ScheduleError         a schedule step that is refused
    |   +-- RaceError         iterations of a parallel, vectorized or bound loop collide
    |   +-- AxisGone          the axis was taken by an earlier step
    +-- VerifyError           a loop nest that breaks a rule of the language
    +-- ParseError            text that is not a printed loop nest
    +-- CodegenError          a loop nest that the backend cannot express
    |   +-- CompileError      generated text that a compiler refuses
    +-- TargetError           a target that is unknown or lacks what is asked of it
    +-- ArgumentError         a kernel called with arguments that do not fit
    +-- DeviceError           a GPU that is not there, or that refuses a call
    |   +-- DeviceLost        its context is broken: this process cannot use it any more
    +-- EmulationFault        a kernel that the emulation of a GPU found wrong
    |   +-- RaceFault         two threads at one place in memory, one writing, and nothing orders them
    |   +-- BoundsFault       an access outside of its buffer
    |   +-- AlignmentFault    an access whose address is no multiple of its width
    |   +-- UninitialisedFault  a read of what nobody has written
    |   +-- DivergenceFault   a barrier or collective instruction that part of its threads come to
    |   +-- DeadlockFault     threads that wait for what never happens
    |   +-- ProtocolFault     barriers, copies or matrix instructions used against their rules
    |   +-- CrashFault        an access, division or call that the processor refuses
    +-- SettingError          an environment variable that means nothing
    +-- TuneError             a search that cannot go on
        +-- RecordError       a database that cannot be read or written

`assert` is for our own bugs only.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_BESIDE = tuple(f"{_PACKAGE}/{folder}/" for folder in ("tests", "docs", "benchmarks"))  # in a checkout: users' code
_CONTEXTS = contextlib.__file__  # its frames stand between a `with` statement and our code


class Error(Exception):
    """A refusal that answers four questions.

    step    which step or call refused, as the user wrote it (`split`, `build`, ...)
    fact    what is wrong, with its numbers
    where   place in the program: a stage and axis, and the loop nest with the line marked by `>`
    advice  what to do instead
    site    file and line of the user's own code that made the call, found on the stack
    """

    def __init__(self, step: str, fact: str, where: str = "", advice: str = "") -> None:
        self.step, self.fact, self.where, self.advice = step, fact, where, advice
        self.site = user_site()
        super().__init__(step, fact, where, advice)

    def __str__(self) -> str:
        lines = [f"{self.step}: {self.fact}"]
        if self.site:
            lines.append(f"  at {self.site}")
        if self.where:
            lines.append(self.where)
        if self.advice:
            lines.append(f"try: {self.advice}")
        return "\n".join(lines)


class TypeMismatch(Error):
    """Data types or ranks that do not fit together."""


class ExpressionError(Error):
    """A tensor expression that means nothing."""


class ScheduleError(Error):
    """A schedule step that is refused."""


class RaceError(ScheduleError):
    """Iterations of a parallel, vectorized or bound loop would collide."""


class AxisGone(ScheduleError):
    """The axis is no loop of the stage any more; the message names the step that took it."""


class VerifyError(Error):
    """A loop nest that breaks a rule of the language."""


class ParseError(Error):
    """Text that is not a printed loop nest."""


class CodegenError(Error):
    """A loop nest that the backend cannot express."""


class CompileError(CodegenError):
    """Generated text that a compiler refuses; the message shows the line."""


class TargetError(Error):
    """A target that is unknown or lacks what is asked of it."""


class ArgumentError(Error):
    """A kernel called with arguments that do not fit."""


class DeviceError(Error):
    """A GPU that is not there, or that refuses a call."""


class DeviceLost(DeviceError):
    """The context of a GPU is broken, by a kernel's fault: this process cannot use it any more, another one can."""


class EmulationFault(Error):
    """A kernel that the emulation of a GPU found wrong; the message names kernel, block, thread and lines."""


class RaceFault(EmulationFault):
    """Two threads or engines at one place in memory, at least one of them writing, and nothing orders the two."""


class BoundsFault(EmulationFault):
    """An access outside of its buffer, or of the shared memory of the block."""


class AlignmentFault(EmulationFault):
    """An access whose address is no multiple of its width."""


class UninitialisedFault(EmulationFault):
    """A read of memory that nobody has written, or of accumulators before their product is complete."""


class DivergenceFault(EmulationFault):
    """A barrier, or an instruction of a whole warp or warpgroup, that only part of its threads come to."""


class DeadlockFault(EmulationFault):
    """Threads that wait for a barrier or a phase that can never be complete."""


class ProtocolFault(EmulationFault):
    """Barriers, asynchronous copies or matrix instructions used against the rules of the PTX manual."""


class CrashFault(EmulationFault):
    """What the processor refused: memory that is not there, a division by zero, a stack that is full."""


class SettingError(Error):
    """An environment variable that means nothing."""


class TuneError(Error):
    """A search that cannot go on."""


class RecordError(TuneError):
    """A record database that cannot be read or written."""


def user_site() -> str:
    """Give `file:line` of the innermost caller outside this package, or an empty string."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_PACKAGE, _CONTEXTS, "<")) or name.startswith(_BESIDE):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
