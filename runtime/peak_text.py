"""Loops that measure the machine, as LLVM IR text.

Each is `i32 name__packed(ptr argv)` with three slots: address of memory, steps, threads; every thread does `steps`
steps, in its own part of the memory where the loop streams.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codegen.llvm.features import has
from ..ir.target import Target

_CHAINS = 16  # independent sums: two multiply-adds a cycle, four or five cycles each, with room to spare


@dataclass(frozen=True, slots=True)
class Loop:
    """The text of a loop and the operations or bytes of one step of one thread."""

    name: str
    text: str
    work_per_step: int


def fma_loop(target: Target) -> Loop:
    """Give the loop of float32 multiply-adds in registers."""
    lanes = target.vector_bits // 32
    chains = min(_CHAINS, target.registers - 4)
    vector = f"<{lanes} x float>"
    step = f"call {vector} @llvm.fmuladd.v{lanes}f32({vector} %a, {vector} %b, {vector} {{}})"
    declare = f"declare {vector} @llvm.fmuladd.v{lanes}f32({vector}, {vector}, {vector})"
    text = _registers_text("peak_fma", target, vector, vector, step, declare, chains)
    return Loop("peak_fma", text, 2 * lanes * chains)


def dot_loop(target: Target) -> Loop | None:
    """Give the loop of int8 dot products in registers, or None for a processor without the instruction."""
    found = _dot_instruction(target)
    if found is None:
        return None
    name, lanes = found
    chains = min(_CHAINS, target.registers - 4)
    sums, bytes_ = f"<{lanes} x i32>", f"<{4 * lanes} x i8>"
    step = f"call {sums} @{name}({sums} {{}}, {bytes_} %a, {bytes_} %b)"
    declare = f"declare {sums} @{name}({sums}, {bytes_}, {bytes_})"
    text = _registers_text("peak_dot", target, sums, bytes_, step, declare, chains)
    return Loop("peak_dot", text, 8 * lanes * chains)


def _dot_instruction(target: Target) -> tuple[str, int] | None:
    arch = target.triple.split("-")[0]
    if arch == "x86_64" and has(target, "avx512vnni"):
        return "llvm.x86.avx512.vpdpbusd.512", 16
    if arch == "x86_64" and has(target, "avxvnni"):
        return "llvm.x86.avx512.vpdpbusd.256", 8
    if arch == "aarch64" and has(target, "dotprod"):
        return "llvm.aarch64.neon.udot.v4i32.v16i8", 4
    return None


def _registers_text(name: str, target: Target, sums: str, operand: str, step: str, declare: str, chains: int) -> str:
    """Give a loop of `chains` independent sums; operands come from memory, so that nothing can be folded."""
    phis = [f"  %s{i} = phi {sums} [zeroinitializer, %entry], [%t{i}, %loop]" for i in range(chains)]
    steps = [f"  %t{i} = {step.format(f'%s{i}')}" for i in range(chains)]
    stores = []
    for i in range(chains):
        stores.append(f"  %o{i} = getelementptr {sums}, ptr %out, i64 {i}")
        stores.append(f"  store volatile {sums} %t{i}, ptr %o{i}, align 4")
    body = [
        f"  %a = load volatile {operand}, ptr %memory, align 4",
        f"  %b = load volatile {operand}, ptr %memory, align 4",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%i1, %loop]",
        *phis,
        *steps,
        "  %i1 = add i64 %i, 1",
        "  %more = icmp slt i64 %i1, %steps",
        "  br i1 %more, label %loop, label %done",
        "done:",
        f"  %out = alloca [{chains} x {sums}], align 64",
        *stores,
        "  ret void",
    ]
    return _threaded(name, target, body, declare)


def read_loop(target: Target) -> Loop:
    """Give the loop that reads memory, four vectors a step."""
    lanes = target.vector_bits // 32
    vector = f"<{lanes} x i32>"
    loads = []
    for i in range(4):
        loads += [
            f"  %p{i} = getelementptr {vector}, ptr %at, i64 {i}",
            f"  %v{i} = load {vector}, ptr %p{i}, align 4",
            f"  %t{i} = xor {vector} %s{i}, %v{i}",
        ]
    last = []
    for i in range(4):
        last.append(f"  %o{i} = getelementptr {vector}, ptr %out, i64 {i}")
        last.append(f"  store volatile {vector} %t{i}, ptr %o{i}, align 4")
    sums = [f"  %s{i} = phi {vector} [zeroinitializer, %entry], [%t{i}, %loop]" for i in range(4)]
    end = [f"  %out = alloca [4 x {vector}], align 64", *last, "  ret void"]
    body = _streaming(lanes, "%steps", sums, loads, end)
    return Loop("peak_read", _threaded("peak_read", target, body, ""), 16 * lanes)


def copy_loop(target: Target) -> Loop:
    """Give the loop that copies the first half of a thread's memory to the second, two vectors a step."""
    lanes = target.vector_bits // 32
    vector = f"<{lanes} x i32>"
    moves = [f"  %there = getelementptr {vector}, ptr %at, i64 %half"]
    for i in range(2):
        moves += [
            f"  %p{i} = getelementptr {vector}, ptr %at, i64 {i}",
            f"  %q{i} = getelementptr {vector}, ptr %there, i64 {i}",
            f"  %v{i} = load {vector}, ptr %p{i}, align 4",
            f"  store {vector} %v{i}, ptr %q{i}, align 4",
        ]
    body = ["  %half = mul i64 %steps, 2", *_streaming(lanes, "%steps", [], moves, ["  ret void"], vectors=2)]
    return Loop("peak_copy", _threaded("peak_copy", target, body, ""), 16 * lanes)


def _streaming(lanes: int, steps: str, phis: list[str], work: list[str], end: list[str], vectors: int = 4) -> list[str]:
    return [
        f"  %part_bytes = mul i64 %steps, {16 * lanes}",
        "  %offset = mul i64 %part_bytes, %thread",
        "  %from = getelementptr i8, ptr %memory, i64 %offset",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%i1, %loop]",
        *phis,
        f"  %first = mul i64 %i, {vectors}",
        f"  %at = getelementptr <{lanes} x i32>, ptr %from, i64 %first",
        *work,
        "  %i1 = add i64 %i, 1",
        f"  %more = icmp slt i64 %i1, {steps}",
        "  br i1 %more, label %loop, label %done",
        "done:",
        *end,
    ]


def _threaded(name: str, target: Target, body: list[str], declare: str) -> str:
    """Give the text of a loop whose `body` sees %memory, %steps and %thread."""
    lines = "\n".join(body)
    return f"""target triple = "{target.triple}"
{declare}
declare i32 @tilewright_parallel_for(ptr, ptr, i64)

define internal void @{name}.run(ptr %memory, i64 %steps, i64 %thread) {{
entry:
{lines}
}}

define internal i32 @{name}.body(ptr %argv, i64 %begin, i64 %end) {{
entry:
  %memory = load ptr, ptr %argv
  %steps_at = getelementptr i64, ptr %argv, i64 1
  %steps = load i64, ptr %steps_at
  br label %loop
loop:
  %thread = phi i64 [%begin, %entry], [%next, %loop]
  call void @{name}.run(ptr %memory, i64 %steps, i64 %thread)
  %next = add i64 %thread, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret i32 0
}}

define i32 @{name}__packed(ptr %argv) {{
  %threads_at = getelementptr i64, ptr %argv, i64 2
  %threads = load i64, ptr %threads_at
  %status = call i32 @tilewright_parallel_for(ptr @{name}.body, ptr %argv, i64 %threads)
  ret i32 %status
}}
"""
