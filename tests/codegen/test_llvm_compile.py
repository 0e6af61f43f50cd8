"""From text to machine code: objects that load, errors that point at their line, what assembly tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tilewright.codegen.llvm.assembly import spills_in_hot_loop
from tilewright.codegen.llvm.compile import compile_ir
from tilewright.codegen.llvm.emit import emit
from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import float32
from tilewright.ir.errors import CodegenError, TargetError
from tilewright.ir.expr import Const, Load, Var
from tilewright.ir.stmt import Allocate, For, ForKind, Function, Store, seq
from tilewright.ir.target import Target

from .machine import Loaded, host


def tile(rows: int) -> Function:
    """Give a kernel whose innermost loop updates `rows` accumulators of 16 lanes."""
    a, out = Buffer("a", (Const(64), Const(rows)), float32), Buffer("out", (Const(rows), Const(16)), float32)
    b, acc = Buffer("b", (Const(64), Const(16)), float32), Buffer("acc", out.shape, float32, "local")
    r0, c0, k, r, c, r1, c1 = (Var(n) for n in ("r0", "c0", "k", "r", "c", "r1", "c1"))

    def over(x: Var, y: Var, store: Store) -> For:
        return For(x, Const(rows), For(y, Const(16), store, ForKind.VECTORIZED), ForKind.UNROLLED)

    body = seq(
        over(r0, c0, Store(acc, (r0, c0), Const(0.0, float32))),
        For(k, Const(64), over(r, c, Store(acc, (r, c), Load(acc, (r, c)) + Load(a, (k, r)) * Load(b, (k, c))))),
        over(r1, c1, Store(out, (r1, c1), Load(acc, (r1, c1)))),
    )
    return Function("tile", (a, b, out), Allocate(acc, body), (out,))


WIDE = Target("llvm", "x86_64-unknown-linux-gnu", "skylake-avx512", "", 512, 32)


def test_a_tile_that_fits_does_not_spill() -> None:
    assert spills_in_hot_loop(compile_ir(emit([tile(24)], WIDE), WIDE).assembly, "tile") == 0


def test_a_tile_beyond_the_registers_spills() -> None:
    assert spills_in_hot_loop(compile_ir(emit([tile(40)], WIDE), WIDE).assembly, "tile") >= 8


def test_spills_on_another_architecture() -> None:
    arm = Target("llvm", "aarch64-unknown-linux-gnu", "neoverse-n1", "", 128, 32)
    assert spills_in_hot_loop(compile_ir(emit([tile(6)], arm), arm).assembly, "tile") == 0
    assert spills_in_hot_loop(compile_ir(emit([tile(24)], arm), arm).assembly, "tile") >= 24


def test_a_function_without_loops_has_no_spills() -> None:
    assert spills_in_hot_loop("f:\n  vmovups %zmm1, -8(%rsp)\n  retq\n", "f") == 0


@pytest.mark.parametrize("effort", ["least", "quick", "full"])
@pytest.mark.parametrize("pic", [False, True])
def test_objects_are_elf_and_define_both_entries(effort: str, pic: bool) -> None:
    code = compile_ir(emit([tile(4)], host()), host(), effort=effort, pic=pic)
    assert code.code[:4] == b"\x7fELF"
    assert "tile__packed:" in code.assembly
    assert b"tile__packed\0" in code.code


def test_the_bad_line_is_shown() -> None:
    text = emit([tile(4)], host()).replace("getelementptr float", "getelementptr flot", 1)
    with pytest.raises(CodegenError) as caught:
        compile_ir(text, host())
    assert "getelementptr flot" in caught.value.where
    assert "error" in caught.value.fact


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(CodegenError, match="unknown effort 'most'"):
        compile_ir("", host(), effort="most")


def test_an_unknown_triple_is_refused() -> None:
    with pytest.raises(TargetError, match="pdp11"):
        compile_ir("", replace(host(), triple="pdp11-dec-unix"))


def test_a_target_without_a_triple_is_refused() -> None:
    with pytest.raises(TargetError, match="target `llvm` has no triple"):
        compile_ir("", Target("llvm"))


@pytest.mark.parametrize("native", [False, True])
def test_the_assembled_object_is_the_generated_one(native: bool) -> None:
    loaded = Loaded(tile(4), code=compile_ir(emit([tile(4)], host()), host(), native=native))
    rng = np.random.default_rng(0)
    a, b, out = rng.random((64, 4), np.float32), rng.random((64, 16), np.float32), np.zeros((4, 16), np.float32)
    assert loaded(a, b, out) == 0
    np.testing.assert_allclose(out, a.T @ b, rtol=64 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "target",
    [
        Target("llvm", "x86_64-unknown-linux-gnu", "x86-64", "", 128, 16),
        Target("llvm", "x86_64-unknown-linux-gnu", "haswell", "", 256, 16),
        Target("llvm", "aarch64-unknown-linux-gnu", "cortex-a72", "", 128, 32),
        Target("llvm", "riscv64-unknown-linux-gnu", "generic-rv64", "+m,+a,+f,+d", 128, 32),
    ],
    ids=lambda t: t.cpu,
)
def test_other_processors(target: Target) -> None:
    assert compile_ir(emit([tile(4)], target), target).code[:4] == b"\x7fELF"
