"""Products and convolutions of bytes whose sums are made bytes again before they are stored."""

from __future__ import annotations

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule
from ...te import operators
from ...te.compute import compute
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .cpu import int8_gemm
from .cpu.int8 import Epilogue
from .cpu.product import ProductRequest


@template("qmatmul")
def qmatmul(
    m: int,
    n: int,
    k: int,
    transpose_b: bool = False,
    dtype: str = "uint8",
    out_dtype: str = "uint8",
    multiplier: float | None = None,
    bias: bool = False,
    data_zero: int = 0,
    zero_point: int = 0,
    constant_b: bool = False,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (m, n) = requantized (A (m, k) - data_zero) B (k, n), from int8 B; see `operators.requantize`.

    transpose_b  B is (n, k)
    dtype        of A, "uint8" or "int8"; B is int8 and its zero is 0
    multiplier   scale of all sums; None for a tensor of them, (n,) float32, that follows B in calls
    bias         whether an int32 tensor (n,) follows
    constant_b   whether what is made of B and bias alone may be made ahead of the calls
    """
    _check_target("qmatmul")
    a = te.placeholder((m, k), dtype, name="A")
    b = te.placeholder((n, k) if transpose_b else (k, n), "int8", name="B")
    epilogue = _epilogue(n, multiplier, bias, zero_point, out_dtype, data_zero)
    c = operators.matmul(_centred(a, data_zero), b, None, "int32", False, transpose_b)
    given = [a, b, *_given(epilogue)]
    cfg = get_config()
    cfg.define_meaning([*given, epilogue.declared(c, 1)])
    sums = operators.matmul(a, b, None, "int32", False, transpose_b)
    plan = int8_gemm.requantizing_plan(cfg, ProductRequest(a, b, sums, constant_b), epilogue)
    cfg.define_estimate(plan.estimate, *plan.estimated)
    s, out = plan.scheduled()
    return s, [*given, out]


def _epilogue(
    channels: int, multiplier: float | None, bias: bool, zero_point: int, out_dtype: str, data_zero: int
) -> Epilogue:
    scale = te.placeholder((channels,), "float32", name="scale") if multiplier is None else multiplier
    added = te.placeholder((channels,), "int32", name="bias") if bias else None
    return Epilogue(scale, added, zero_point, out_dtype, data_zero)


def _given(epilogue: Epilogue) -> list[Tensor]:
    return [x for x in (epilogue.scale, epilogue.bias) if isinstance(x, Tensor)]


def _centred(data: Tensor, zero: int) -> Tensor:
    """Give the data with their zero at 0."""
    return data if zero == 0 else compute(data.shape, lambda *i: data[i].astype("int32") - zero, name="centred")


def _check_target(step: str) -> None:
    if get_target().kind == "cuda":
        raise TuneError(step, "no schedule for a GPU", advice="a processor, or matmul and conv2d of int8")
