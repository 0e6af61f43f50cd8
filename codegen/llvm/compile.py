"""From LLVM IR text to machine code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import RLock

import llvmlite.binding as llvm

from ...ir.errors import CodegenError, TargetError
from ...ir.target import Target
from .emit import WRITTEN_OUT

EFFORTS = ("auto", "quick", "full")
SCALED = "x86_64"  # architectures whose addresses add a scaled counter and an offset to a base
_LOCK = RLock()  # llvmlite's target machines and pass builders are not safe to share between threads


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """Compiled functions.

    code      bytes of a relocatable object
    assembly  its text
    text      the LLVM IR that it was compiled from
    """

    code: bytes
    assembly: str
    text: str


def compile_ir(
    text: str, target: Target, *, effort: str = "quick", pic: bool = False, native: bool = False
) -> ObjectCode:
    """Compile LLVM IR text.

    effort  "quick" tidies up and generates code, for candidates; "full" runs LLVM's whole -O3 pipeline first;
            "auto" does so unless the schedule has left it nothing to do, as the mark `WRITTEN_OUT` tells
    pic     give position-independent code, as shared libraries need
    native  the target is of the compiling machine's own family: its assembler makes the object from the assembly, in
            a tenth of the time that generating code again takes
    Raises CodegenError with LLVM's message and the line it means, TargetError for an unknown triple.
    """
    if effort not in EFFORTS:
        raise CodegenError("compile", f"unknown effort {effort!r}", advice=f"one of {', '.join(EFFORTS)}")
    with _LOCK:
        machine = _machine(target, pic)
        module = _parsed(text)
        written_out = effort == "auto" and WRITTEN_OUT in text
        _optimise(module, machine, full=effort != "quick" and not written_out)
        with _reducing_strength(not written_out or not machine.triple.startswith(SCALED)):
            assembly = machine.emit_assembly(module)
            code = _assembled(assembly, machine) if native else machine.emit_object(module)
        return ObjectCode(code, assembly, text)


@contextmanager
def _reducing_strength(wanted: bool) -> Iterator[None]:
    """Let LLVM search for the cheapest counters and pointers of loops, or leave them as they are written.

    The search is a third of the time that generating code takes, and with addresses of base, scaled counter and offset
    finds nothing better.  LLVM has one such option for the whole process, which is as it was afterwards.
    """
    if not wanted:
        llvm.set_option("tilewright", "-disable-lsr=true")
    try:
        yield
    finally:
        if not wanted:
            llvm.set_option("tilewright", "-disable-lsr=false")


def _assembled(assembly: str, machine: llvm.TargetMachine) -> bytes:
    """Give the object of an assembly text."""
    llvm.initialize_native_asmparser()
    escaped = assembly.translate(_ESCAPES)
    return machine.emit_object(llvm.parse_assembly(f'target triple = "{machine.triple}"\nmodule asm "{escaped}"\n'))


_ESCAPES = str.maketrans({"\\": "\\5C", '"': "\\22", "\n": "\\0A", "\t": "\\09"})


@cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(target: Target, pic: bool) -> llvm.TargetMachine:
    _initialise()
    if not target.triple:
        raise TargetError("compile", f"target `{target}` has no triple", advice="a target resolved for its machine")
    try:
        found = llvm.Target.from_triple(target.triple)
    except RuntimeError as error:
        raise TargetError("compile", str(error), advice="a triple such as x86_64-unknown-linux-gnu") from None
    model = "default" if pic else "jitdefault"
    relocation = "pic" if pic else "default"
    machine = found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc=relocation, codemodel=model, jit=not pic
    )
    machine.set_asm_verbosity(True)  # the comments that codegen/llvm/assembly.py reads
    return machine


def _parsed(text: str) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise CodegenError("compile", f"LLVM refuses the code: {error}", _line_of(text, str(error))) from None
    return module


def _line_of(text: str, message: str) -> str:
    """Give the line that an LLVM message of the form `<string>:12:5: error: ...` means."""
    found = re.search(r":(\d+):\d+: error", message)
    lines = text.splitlines()
    if found is None or not 0 < int(found.group(1)) <= len(lines):
        return ""
    return f"> {lines[int(found.group(1)) - 1].strip()}"


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, full: bool) -> None:
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    if full:
        builder.getModulePassManager().run(module, builder)
        return
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
