"""Parallel loops: the body becomes a function of its own, which the thread pool calls on ranges of iterations.

The pool sees `i32 name.par0(ptr env, i64 begin, i64 end)`; that unpacks what the body reads from around the loop and
calls `name.par0.body`, whose pointers are arguments again and thus known not to alias.
"""

from __future__ import annotations

from ...ir.buffer import Buffer
from ...ir.dtype import int64
from ...ir.expr import Const, Var
from ...ir.stmt import Allocate, For
from ...ir.visit import of_kind
from .arithmetic import compare
from .body import Body, Linear
from .code import Code
from .control import branch, leave_if, loop
from .index import linear, materialise
from .streaming import fence
from .types import Value


def write_parallel(body: Body, stmt: For) -> None:
    """Write the call of the thread pool, and the function that it calls."""
    code = body.code
    captured = _captured(body, stmt)
    name = f"{body.name}.par{len(body.module.outlined)}"
    body.module.outlined.append("")
    body.module.outlined[-1] = "".join((_inner(body, stmt, name, captured), _entry(name, captured)))
    environment = code.fresh("env", level=0)
    code.allocas.append(f"  {environment} = alloca [{max(1, len(captured))} x i64], align 16")
    for slot, value in enumerate(captured):
        place = code.result(f"getelementptr i64, ptr {environment}, i64 {slot}")
        code.effect(f"store {value.type} {value.text}, ptr {place}, align 8")
    pool = body.module.declare("i32", "tilewright_parallel_for", "ptr", "ptr", "i64")
    count = materialise(body, linear(body, stmt.extent), "i64")
    for buffer in body.written(stmt.body):
        body.loaded.pop(buffer, None)
    status = code.result(f"call i32 {pool}(ptr @{quoted(name)}, ptr {environment}, i64 {count.text})")
    failed = code.result(f"icmp ne i32 {status}, 0")
    leave_if(body, failed, status)


def _captured(body: Body, stmt: For) -> list[Value]:
    """Give the values from around the loop that its body reads: addresses and scalars."""
    buffers = body.touched(stmt.body)
    found = {body.pointers[b]: "ptr" for b in buffers if b in body.pointers}
    for var in _variables(stmt, buffers):
        known = body.env.get(var)
        if known is None:
            continue
        for value in [v for v, _ in known.terms] if isinstance(known, Linear) else [known]:
            found.setdefault(value.text, value.elem)
    return [Value(name, kind) for name, kind in found.items() if name.startswith("%")]


def _variables(stmt: For, buffers: tuple[Buffer, ...]) -> list[Var]:
    inside = tuple(n.buffer for n in of_kind(stmt.body, Allocate))
    dims = [d for b in buffers + inside for d in (*b.shape, *(b.strides or ())) if type(d) is not Const]
    return [v for node in (stmt.body, *dims) for v in of_kind(node, Var)]


def _inner(body: Body, stmt: For, name: str, captured: list[Value]) -> str:
    """Give the function that runs iterations `begin` to `end`."""
    known = {v.text for v in captured}
    inner = Body(
        name,
        body.target,
        body.module,
        Code(body.code.names),
        env=dict(body.env),
        pointers={b: p for b, p in body.pointers.items() if p in known},
        align=dict(body.align),
        counts=known & body.counts,
        ends={name: last for name, last in body.ends.items() if name in known},
        in_parallel=True,
        streamed=dict(body.streamed),
        forms=body.forms,
        offsets=body.offsets,
        facts=body.facts,
    )
    begin, end = Value("%begin", "i64"), Value("%end", "i64")
    some = compare(inner, "lt", begin, end, int64)
    branch(inner, some.text, (stmt, lambda: loop(inner, stmt, begin, end)), None)
    fence(inner)
    parameters = ", ".join([f"{v.type}{' noalias' if v.type == 'ptr' else ''} {v.text}" for v in captured])
    head = (
        f"define internal i32 @{quoted(name + '.body')}({parameters}{', ' if captured else ''}i64 %begin, i64 %end) #0"
    )
    return f"{head} {{\nentry:\n{inner.code.text()}\n  ret i32 0\n}}\n\n"


def _entry(name: str, captured: list[Value]) -> str:
    """Give the function that the thread pool calls."""
    lines = [f"define internal i32 @{quoted(name)}(ptr %env, i64 %begin, i64 %end) #0 {{", "entry:"]
    for slot, value in enumerate(captured):
        lines.append(f"  %slot{slot} = getelementptr i64, ptr %env, i64 {slot}")
        lines.append(f"  {value.text} = load {value.type}, ptr %slot{slot}, align 8")
    arguments = "".join(f"{v.type} {v.text}, " for v in captured)
    lines.append(f"  %status = call i32 @{quoted(name + '.body')}({arguments}i64 %begin, i64 %end)")
    lines += ["  ret i32 %status", "}"]
    return "\n".join(lines) + "\n\n"


def quoted(name: str) -> str:
    """Give a global name as LLVM reads it."""
    return name if name.replace(".", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'
