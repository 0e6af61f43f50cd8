"""Kernels written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tilewright.codegen.cuda.kernel import AXIS_VARS, Kernel
from tilewright.ir.arith import as_expr
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import dtype_of
from tilewright.ir.expr import Const, Expr, Load, Var
from tilewright.ir.stmt import Allocate, For, ForKind, Stmt, Store, seq

TX, TY, BX, BY = (AXIS_VARS[name] for name in ("threadIdx.x", "threadIdx.y", "blockIdx.x", "blockIdx.y"))
Index = Callable[[Any], Any]


def buffer(name: str, *shape: int, scope: str = "global", dtype: str = "float32", **options: Any) -> Buffer:
    return Buffer(name, tuple(map(Const, shape)), dtype_of(dtype), scope, **options)


def load(source: Buffer, *indices: Expr | int) -> Load:
    return Load(source, tuple(map(as_expr, indices)))


def store(target: Buffer, *indices: Expr | int, value: Expr) -> Store:
    return Store(target, tuple(map(as_expr, indices)), value)


def loop(name: str, extent: int, body: Callable[[Var], Stmt], kind: ForKind = ForKind.SERIAL) -> For:
    var = Var(name)
    return For(var, Const(extent), body(var), kind)


def unrolled(name: str, extent: int, body: Callable[[Var], Stmt]) -> For:
    return loop(name, extent, body, ForKind.UNROLLED)


def vectorized(name: str, extent: int, body: Callable[[Var], Stmt]) -> For:
    return loop(name, extent, body, ForKind.VECTORIZED)


def kernel(
    body: Stmt,
    block: tuple[int, int, int] = (32, 1, 1),
    grid: tuple[int, int, int] = (1, 1, 1),
    shared: Sequence[Buffer] = (),
    params: Sequence[Buffer] = (),
    **options: Any,
) -> Kernel:
    extents = tuple(map(Const, grid))
    return Kernel("k", tuple(params), (), extents, block, body, tuple(shared), **options)  # type: ignore[arg-type]


def copy_kernel(source: Buffer, index: Index, block: tuple[int, int, int] = (32, 1, 1), **options: Any) -> Kernel:
    """Give a kernel whose threads each load `source[index(threadIdx.x)]` once."""
    kept = buffer("kept", 1, scope="local")
    body = Allocate(kept, store(kept, 0, value=load(source, index(TX))))
    return kernel(body, block, shared=[source] if source.scope == "shared" else [], **options)


def vector_kernel(source: Buffer, index: Index, count: int, block: tuple[int, int, int] = (32, 1, 1)) -> Kernel:
    """Give a kernel whose threads each load `count` neighbours from `source[index(threadIdx.x)]` on."""
    kept = buffer("kept", count, scope="local", dtype=str(source.dtype))
    body = Allocate(
        kept, loop("v", count, lambda v: store(kept, v, value=load(source, index(TX) + v)), ForKind.VECTORIZED)
    )
    return kernel(body, block, shared=[source] if source.scope == "shared" else [])


def sgemm(size: int = 1024, tile: int = 128, step: int = 16, pad: int = 4) -> Kernel:
    """Give a product of square matrices: tiles of (tile, tile) by 256 threads, each 8x8 as 2x2 pieces of 4x4.

    A is transposed in shared memory, whose rows are longer than the tile by `pad`.
    """
    a, b, c = (buffer(name, size, size) for name in "ABC")
    a_s = buffer("A_shared", step, tile, scope="shared", strides=(Const(tile + pad), Const(1)))
    b_s = buffer("B_shared", step, tile, scope="shared", strides=(Const(tile + pad), Const(1)))
    a_l, b_l, c_l = buffer("A_l", 8, scope="local"), buffer("B_l", 8, scope="local"), buffer("C_l", 8, 8, scope="local")
    thread = TY * 16 + TX
    half = tile // 2

    def fill(k: Var) -> Stmt:
        def put_a(i: Var, v: Var) -> Stmt:
            row, column = thread // 4 + i * 64, thread % 4 * 4 + v
            return store(a_s, column, row, value=load(a, BY * tile + row, k * step + column))

        def put_b(i: Var, v: Var) -> Stmt:
            row, column = thread // 32 + i * 8, thread % 32 * 4 + v
            return store(b_s, row, column, value=load(b, k * step + row, BX * tile + column))

        a_part = unrolled("la", tile // 64, lambda i: unrolled("va", 4, lambda v: put_a(i, v)))
        return seq(a_part, unrolled("lb", step // 8, lambda i: vectorized("vb", 4, lambda v: put_b(i, v))))

    def inner(kk: Var) -> Stmt:
        def get(local: Buffer, source: Buffer, axis: Var) -> Callable[[Var], Stmt]:
            def piece(i: Var, v: Var) -> Stmt:
                return store(local, i * 4 + v, value=load(source, kk, i * half + axis * 4 + v))

            return lambda i: vectorized(f"w{local.name}", 4, lambda v: piece(i, v))

        def fma(i: Var, j: Var) -> Stmt:
            return store(c_l, i, j, value=load(c_l, i, j) + load(a_l, i) * load(b_l, j))

        products = unrolled("i", 8, lambda i: unrolled("j", 8, lambda j: fma(i, j)))
        return seq(unrolled("ia", 2, get(a_l, a_s, TY)), unrolled("ib", 2, get(b_l, b_s, TX)), products)

    def put_c(i: Var) -> Stmt:
        def piece(jo: Var, jv: Var) -> Stmt:
            row, column = i // 4 * half + TY * 4 + i % 4, jo * half + TX * 4 + jv
            return store(c, BY * tile + row, BX * tile + column, value=load(c_l, i, jo * 4 + jv))

        return unrolled("jo", 2, lambda jo: vectorized("jv", 4, lambda jv: piece(jo, jv)))

    main = loop("k", size // step, lambda k: seq(fill(k), unrolled("kk", step, inner)))
    body = seq(main, unrolled("co", 8, put_c))
    for local in (c_l, b_l, a_l):
        body = Allocate(local, body)
    return kernel(body, (16, 16, 1), (size // tile, size // tile, 1), [a_s, b_s], [a, b, c])
