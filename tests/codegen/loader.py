"""Compile LLVM IR text and load it into the test process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p

import llvmlite.binding as llvm
import numpy as np

from tilewright.ir.target import Target

_names = itertools.count()


def host() -> Target:
    """Give the machine that runs the tests."""
    features = llvm.get_host_cpu_features().flatten()
    return Target(triple=llvm.get_process_triple(), cpu=llvm.get_host_cpu_name(), features=features)


def plain() -> Target:
    """Give an x86-64 machine with SSE2 alone: no fused multiply-add, no wide vectors."""
    return Target(triple="x86_64-unknown-linux-gnu", cpu="x86-64")


def machine_of(target: Target) -> llvm.TargetMachine:
    """Give LLVM's description of `target`, which must name its triple."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=3, jit=True)


def optimized(text: str, target: Target) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """Give the verified module of `text` after inlining and cleaning up."""
    machine = machine_of(target)
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3)))
    return module, machine


def assembly(text: str, target: Target) -> str:
    """Give the assembly text of a module."""
    module, machine = optimized(text, target)
    return machine.emit_assembly(module)


class Loaded:
    """A compiled module; `call` passes arrays as pointers and integers as int64."""

    def __init__(self, text: str, target: Target) -> None:
        module, machine = optimized(text, target)
        image = machine.emit_object(module)
        self.engine = llvm.create_lljit_compiler(machine)
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        names = [f.name for f in module.functions if not f.is_declaration and f.linkage == llvm.Linkage.external]
        for name in names:
            builder.export_symbol(name)
        self.library = builder.link(self.engine, f"test{next(_names)}")

    def call(self, name: str, *arguments: np.ndarray | int) -> None:
        """Call a function whose parameters are pointers and 64-bit integers and that gives nothing."""
        types = [c_int64 if isinstance(argument, int) else c_void_p for argument in arguments]
        values = [argument if isinstance(argument, int) else argument.ctypes.data for argument in arguments]
        CFUNCTYPE(None, *types)(self.library[name])(*values)


def elementwise(symbol: str, definitions: Sequence[str], element: str, lanes: int, inputs: int = 1) -> str:
    """Give a module whose `run(x..., result, chunks)` applies a vector function to `lanes * chunks` numbers."""
    kind = element if lanes == 1 else f"<{lanes} x {element}>"
    letters = "xyz"[:inputs]
    parameters = "".join(f"ptr %{letter}, " for letter in letters)
    loads = "\n".join(
        f"  %p{c} = getelementptr {element}, ptr %{c}, i64 %at\n  %v{c} = load {kind}, ptr %p{c}, align 4"
        for c in letters
    )
    arguments = ", ".join(f"{kind} %v{letter}" for letter in letters)
    body = f"""
define void @run({parameters}ptr %result, i64 %chunks) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %body]
  %more = icmp slt i64 %i, %chunks
  br i1 %more, label %body, label %exit
body:
  %at = mul i64 %i, {lanes}
{loads}
  %r = call {kind} {symbol}({arguments})
  %pr = getelementptr {element}, ptr %result, i64 %at
  store {kind} %r, ptr %pr, align 4
  %next = add i64 %i, 1
  br label %head
exit:
  ret void
}}
"""
    return "\n".join(definitions) + body
