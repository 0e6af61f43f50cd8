"""From LLVM IR text to machine code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from threading import RLock
from typing import TypeVar

import llvmlite.binding as llvm

from ...ir.errors import CodegenError, TargetError
from ...ir.target import Target
from .emit import GUARDED, WRITTEN_OUT

T = TypeVar("T")
EFFORTS = ("auto", "least", "quick", "full")
SCALED = "x86_64"  # architectures whose addresses add a scaled counter and an offset to a base
_LOCK = RLock()  # llvmlite's target machines and pass builders are not safe to share between threads


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """Compiled functions.

    code   bytes of a relocatable object
    text   the LLVM IR that it was compiled from
    write  gives its assembly
    """

    code: bytes
    text: str
    write: Callable[[], str]

    @property
    def assembly(self) -> str:
        """Give the code as assembly text."""
        return self.write()


def compile_ir(
    text: str, target: Target, *, effort: str = "quick", pic: bool = False, native: bool = False
) -> ObjectCode:
    """Compile LLVM IR text; its assembly is written when it is first asked for, which takes as long again.

    effort  "quick" tidies up and generates code, for candidates; "full" runs LLVM's whole -O3 pipeline first;
            "auto" does so unless the schedule has left it nothing to do, as the marks `WRITTEN_OUT` and `GUARDED`
            tell;
            "least" generates code as fast as LLVM can, without tidying up
    pic     give position-independent code, as shared libraries need
    native  the target is of the compiling machine's own family, and the assembly is wanted, too: it is written at
            once, and the machine's assembler makes the object from it, in a tenth of the time of generating code
    Raises CodegenError with LLVM's message and the line it means, TargetError for an unknown triple.
    """
    if effort not in EFFORTS:
        raise CodegenError("compile", f"unknown effort {effort!r}", advice=f"one of {', '.join(EFFORTS)}")
    how = (text, target, effort, pic)
    if not native:
        return ObjectCode(_generated(*how, llvm.TargetMachine.emit_object), text, partial(_assembly, *how))
    assembly = _generated(*how, _write_assembly)
    return ObjectCode(_assembled(assembly, target, effort, pic), text, partial(str, assembly))


@lru_cache(maxsize=16)
def _assembly(text: str, target: Target, effort: str, pic: bool) -> str:
    return _generated(text, target, effort, pic, _write_assembly)


def _generated(
    text: str, target: Target, effort: str, pic: bool, form: Callable[[llvm.TargetMachine, llvm.ModuleRef], T]
) -> T:
    """Give the code of a text in some form."""
    with _LOCK:
        machine = _machine(target, effort, pic)
        module = _parsed(text)
        mark = next((mark for mark in (WRITTEN_OUT, GUARDED) if effort == "auto" and mark in text), "")
        _optimise(module, machine, "quick" if mark else effort)
        as_written = mark == WRITTEN_OUT and machine.triple.startswith(SCALED)
        with _switched(AS_WRITTEN if as_written else {}):
            return form(machine, module)


def _write_assembly(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> str:
    machine.set_asm_verbosity(True)  # the comments that codegen/llvm/assembly.py reads
    return machine.emit_assembly(module)


AS_WRITTEN = {
    "disable-lsr": ("true", "false"),
    "disable-post-ra": ("true", "false"),
    "cgp-max-address-users-to-scan": ("0", "100"),
}
"""What LLVM leaves out where code is as a schedule means it to be: values of its switches, and those they have else.

disable-lsr      the search for the cheapest counters and pointers of loops is a third of the time that generating code
                 takes, and with addresses of base, scaled counter and offset finds nothing better
disable-post-ra  putting instructions in another order once they have registers is a twelfth, and changes nothing where
                 the processor finds an order of its own
cgp-max-address-users-to-scan  whether all that read an address could compute it themselves is asked anew for each of
                 hundreds, which is up to a tenth; most have no more than an offset of their own, which costs nothing
"""


@contextmanager
def _switched(switches: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Set switches, which LLVM has once for the whole process, and set them back afterwards."""
    for name, (value, _) in switches.items():
        llvm.set_option("tilewright", f"-{name}={value}")
    try:
        yield
    finally:
        for name, (_, value) in switches.items():
            llvm.set_option("tilewright", f"-{name}={value}")


def _assembled(assembly: str, target: Target, effort: str, pic: bool) -> bytes:
    """Give the object of an assembly text."""
    escaped = assembly.translate(_ESCAPES)
    with _LOCK:
        llvm.initialize_native_asmparser()
        machine = _machine(target, effort, pic)
        text = f'target triple = "{machine.triple}"\nmodule asm "{escaped}"\n'
        return machine.emit_object(llvm.parse_assembly(text))


_ESCAPES = str.maketrans({"\\": "\\5C", '"': "\\22", "\n": "\\0A", "\t": "\\09"})


@cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(target: Target, effort: str, pic: bool) -> llvm.TargetMachine:
    _initialise()
    if not target.triple:
        raise TargetError("compile", f"target `{target}` has no triple", advice="a target resolved for its machine")
    try:
        found = llvm.Target.from_triple(target.triple)
    except RuntimeError as error:
        raise TargetError("compile", str(error), advice="a triple such as x86_64-unknown-linux-gnu") from None
    model = "default" if pic else "jitdefault"
    relocation = "pic" if pic else "default"
    level = 0 if effort == "least" else 3
    return found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc=relocation, codemodel=model, jit=not pic
    )


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


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, effort: str) -> None:
    if effort == "least":
        return
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    if effort != "quick":
        builder.getModulePassManager().run(module, builder)
        return
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
