"""Small kernels as LLVM IR text, for tests of what calls them."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.codegen.llvm.compile import compile_ir
from tilewright.ir.dtype import float32, int32, int64
from tilewright.runtime.host import host_target
from tilewright.runtime.jit import load
from tilewright.runtime.kernel import Kernel
from tilewright.runtime.library import library
from tilewright.runtime.signature import ArrayParam, ScalarParam, Signature


@dataclass(frozen=True)
class Native:
    """Loaded text; `owner` keeps it loaded."""

    addresses: dict
    owner: object


def native(text: str, *names: str, **symbols: int) -> Native:
    target = host_target()
    head = f'target triple = "{target.triple}"\n'
    loaded = load(compile_ir(head + text, target).code, names, {**library().addresses, **symbols})
    return Native(dict(loaded.addresses), loaded)


# adds 1 to each element of an int32 array, in parallel, one pool call
INCREMENT = """
declare i32 @tilewright_parallel_for(ptr, ptr, i64)
define internal i32 @body(ptr %env, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [%begin, %entry], [%i1, %loop]
  %at = getelementptr i32, ptr %env, i64 %i
  %old = load i32, ptr %at
  %new = add i32 %old, 1
  store i32 %new, ptr %at
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret i32 0
}
define i32 @increment__packed(ptr %argv) {
  %data = load ptr, ptr %argv
  %count_at = getelementptr i64, ptr %argv, i64 1
  %count = load i64, ptr %count_at
  %status = call i32 @tilewright_parallel_for(ptr @body, ptr %data, i64 %count)
  ret i32 %status
}
"""

# C[i] = A[i] + B[i] for 6 floats
ADD = """
define i32 @add__packed(ptr %argv) {
entry:
  %b_at = getelementptr i64, ptr %argv, i64 1
  %c_at = getelementptr i64, ptr %argv, i64 2
  %a = load ptr, ptr %argv
  %b = load ptr, ptr %b_at
  %c = load ptr, ptr %c_at
  %x = load <6 x float>, ptr %a, align 4
  %y = load <6 x float>, ptr %b, align 4
  %z = fadd <6 x float> %x, %y
  store <6 x float> %z, ptr %c, align 4
  ret i32 0
}
"""


def increment() -> Kernel:
    """Give the kernel `increment(data: int32 (count,), written)`."""
    code = native(INCREMENT, "increment__packed")
    signature = Signature(
        "increment", (ArrayParam("data", int32, ("count",), None, True),), (ScalarParam("count", int64),)
    )
    return Kernel(signature, code.addresses["increment__packed"], code)


def add(shape: tuple = (2, 3), strides: tuple | None = None) -> Kernel:
    """Give the kernel `add(A, B, C)` on float32 arrays of `shape`; `strides` are B's."""
    code = native(ADD, "add__packed")
    params = (
        ArrayParam("A", float32, shape, None, False),
        ArrayParam("B", float32, shape, strides, False),
        ArrayParam("C", float32, shape, None, True),
    )
    names = dict.fromkeys(e for e in shape if isinstance(e, str))
    return Kernel(
        Signature("add", params, tuple(ScalarParam(n, int32) for n in names)), code.addresses["add__packed"], code
    )
