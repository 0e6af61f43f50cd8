"""From a configuration to machine code of a processor."""

from __future__ import annotations

import hashlib

from ..codegen import pipeline
from ..codegen.llvm.assembly import spills_in_hot_loop
from ..codegen.llvm.compile import compile_ir
from ..codegen.llvm.emit import emit
from ..runtime.externs import extern_names
from ..runtime.host import host_target
from ..runtime.signature import signature_of
from .built import KERNEL, BuildOptions, Built, Progress, lowered_for_cpu
from .space import Config
from .task import Task
from .trial import Status


def build_llvm(task: Task, config: Config, options: BuildOptions, progress: Progress) -> Built:
    """Instantiate, lower, emit and compile; too many spills in the hot loop are a failure."""
    index = config.index or 0
    nests = lowered_for_cpu(task, config, progress)
    text = emit([pipeline.lower(nest, task.target) for nest in nests.functions], task.target)
    native = task.target.triple == host_target().triple
    compiled = compile_ir(text, task.target, effort=options.effort, native=native)
    spills = spills_in_hot_loop(compiled.assembly, KERNEL)
    code_hash = hashlib.sha256(compiled.code).hexdigest()[:16]
    if options.max_spills is not None and spills > options.max_spills:
        fact = f"{spills} vector spills in the hot loop"
        return Built(index, Status.SPILL, code_hash=code_hash, steps=progress.steps, spills=spills, error=fact)
    return Built(
        index, Status.OK, compiled.code, code_hash, progress.steps, spills, extern_names(nests.functions),
        names=nests.names, functions=tuple(map(signature_of, nests.functions)),
    )  # fmt: skip
