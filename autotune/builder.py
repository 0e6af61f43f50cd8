"""From a configuration to machine code, in a worker process; every way to fail has its class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..codegen import pipeline
from ..codegen.llvm.assembly import spills_in_hot_loop
from ..codegen.llvm.compile import compile_ir
from ..codegen.llvm.emit import emit
from ..ir.errors import Error
from ..runtime.externs import extern_names
from ..runtime.host import host_target
from ..schedule.lower import lower
from .space import Config
from .task import Task
from .trial import Status

KERNEL = "main"


@dataclass(frozen=True, slots=True)
class Built:
    """What building one configuration gave.

    code     the relocatable object, empty on failure
    spills   instructions of the hot loop that move vectors to or from the stack
    externs  functions from outside that the code calls
    """

    index: int
    status: Status = Status.OK
    code: bytes = b""
    code_hash: str = ""
    steps: str = ""
    spills: int = 0
    externs: tuple[str, ...] = ()
    error: str = ""


def build_candidate(task: Task, config: Config, effort: str = "quick", max_spills: int | None = 0) -> Built:
    """Instantiate, lower, emit and compile.

    max_spills  more than these in the hot loop are a failure; None for no limit
    """
    index, step, steps = config.index or 0, Status.INSTANTIATE, ""
    try:
        schedule, tensors = task.instantiate(config)
        steps = schedule.to_json()
        step = Status.LOWER
        nest = lower(schedule, tensors, KERNEL)
        step = Status.CODEGEN
        text = emit([pipeline.lower(nest, task.target)], task.target)
        native = task.target.triple == host_target().triple
        compiled = compile_ir(text, task.target, effort=effort, native=native)
    except Error as error:
        return Built(index, step, steps=steps, error=str(error))
    except MemoryError as error:
        return Built(index, Status.MEMORY, steps=steps, error=f"out of memory while building: {error}")
    except Exception as error:  # a fault of our own must not end the search
        return Built(index, step, steps=steps, error=f"{type(error).__name__}: {error}")
    spills = spills_in_hot_loop(compiled.assembly, KERNEL)
    code_hash = hashlib.sha256(compiled.code).hexdigest()[:16]
    if max_spills is not None and spills > max_spills:
        fact = f"{spills} vector spills in the hot loop"
        return Built(index, Status.SPILL, code_hash=code_hash, steps=steps, spills=spills, error=fact)
    return Built(index, Status.OK, compiled.code, code_hash, steps, spills, extern_names([nest]))
