"""From lowered functions to the text of an LLVM module."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.buffer import Buffer
from ...ir.collector import at_rest
from ...ir.dtype import boolean
from ...ir.errors import CodegenError
from ...ir.expr import Var
from ...ir.stmt import Function
from ...ir.target import Target
from .body import Body, Linear, ModuleText
from .code import Code
from .control import write
from .index import is_index
from .parallel import quoted
from .streaming import fence
from .types import Value, value_type

WRITTEN_OUT = "!tilewright.written_out = !{}"  # named metadata of a module that LLVM's optimiser makes no faster
GUARDED = "!tilewright.guarded = !{}"  # and of one with conditions, whose sums are spilled without LLVM's own counters


def emit(functions: Sequence[Function], target: Target) -> str:
    """Give LLVM IR text that defines `name` and `name__packed` for each function.

    `i32 name(pointers and scalars in parameter order, size variables)` returns 0, or 1 when memory ran out.
    `i32 name__packed(ptr)` takes the same from an array of 8-byte slots: pointers, integers as int64, floats as double.
    Code with a register tile, whose innermost loops all have vectors, has the mark `WRITTEN_OUT`, or `GUARDED` where
    there are conditions around the tile, or a choice between two.
    Raises CodegenError for what the backend cannot express.
    """
    module = ModuleText()
    with at_rest():
        texts = [_function(f, target, module) + _packed(f) for f in functions]
    head = [f'target triple = "{target.triple}"'] if target.triple else []
    parts = [
        *head,
        "\n".join(module.declarations),
        *module.definitions.values(),
        *module.outlined,
        *texts,
        f"attributes #0 = {{ {' '.join(_attributes(target))} }}",
        _mark(module),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _mark(module: ModuleText) -> str:
    if not module.tiles or module.unfinished:
        return ""
    return GUARDED if module.guarded else WRITTEN_OUT


def _attributes(target: Target) -> list[str]:
    words = ["nounwind"]
    if target.cpu:
        words.append(f'"target-cpu"="{target.cpu}"')
    if target.features:
        words.append(f'"target-features"="{target.features}"')
    if target.vector_bits:
        words.append(f'"prefer-vector-width"="{target.vector_bits}"')
    return words


def parameters(function: Function) -> tuple[Buffer | Var, ...]:
    """Give all parameters of the compiled function: the listed ones, then the size variables."""
    return (*function.params, *function.size_vars)


def _name(parameter: Buffer | Var) -> str:
    stem = f"{'p' if isinstance(parameter, Buffer) else 's'}.{parameter.name}"
    return f"%{quoted(stem)}"


def _function(function: Function, target: Target, module: ModuleText) -> str:
    body = Body(function.name, target, module, Code())
    listed = []
    for parameter in parameters(function):
        name = _name(parameter)
        match parameter:
            case Buffer():
                body.pointers[parameter] = name
                body.align[parameter] = parameter.dtype.bytes
                access = "" if parameter in function.outputs else " readonly"
                listed.append(f"ptr noalias{access} align {parameter.dtype.bytes} {name}")
            case Var():
                value = Value(name, value_type(parameter.dtype))
                body.env[parameter] = Linear(0, ((value, 1),)) if is_index(parameter.dtype) else value
                listed.append(f"{value.type} {name}")
                if parameter.minimum is not None and parameter.minimum >= 0:
                    body.counts.add(name)
    _refuse_twins(function)
    write(body, function.body)
    fence(body)
    head = f"define i32 @{quoted(function.name)}({', '.join(listed)}) #0"
    return f"{head} {{\nentry:\n{body.code.text()}\n  ret i32 0\n}}\n\n"


def _refuse_twins(function: Function) -> None:
    names = [p.name for p in parameters(function)]
    twins = sorted({n for n in names if names.count(n) > 1})
    if twins:
        raise CodegenError("llvm", f"two parameters of {function.name} are called {twins[0]}", advice="rename one")


def _packed(function: Function) -> str:
    """Give the entry that takes its arguments from memory."""
    lines = [f"define i32 @{quoted(function.name + '__packed')}(ptr %argv) #0 {{", "entry:"]
    arguments = []
    for slot, parameter in enumerate(parameters(function)):
        lines.append(f"  %slot{slot} = getelementptr i64, ptr %argv, i64 {slot}")
        if isinstance(parameter, Buffer):
            lines.append(f"  %a{slot} = load ptr, ptr %slot{slot}, align 8")
            arguments.append(f"ptr %a{slot}")
            continue
        kind = value_type(parameter.dtype)
        wide = "double" if parameter.dtype.is_float else "i64"
        lines.append(f"  %w{slot} = load {wide}, ptr %slot{slot}, align 8")
        op = "fptrunc" if parameter.dtype.is_float else "trunc"
        if parameter.dtype == boolean:
            lines.append(f"  %a{slot} = icmp ne i64 %w{slot}, 0")
        elif kind != wide:
            lines.append(f"  %a{slot} = {op} {wide} %w{slot} to {kind}")
        arguments.append(f"{kind} {'%w' if kind == wide else '%a'}{slot}")
    lines.append(f"  %status = call i32 @{quoted(function.name)}({', '.join(arguments)})")
    lines += ["  ret i32 %status", "}"]
    return "\n".join(lines) + "\n"
