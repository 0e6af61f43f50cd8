"""Products and convolutions of bytes whose sums are made bytes again before they are stored."""

from __future__ import annotations

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule
from ...te import operators
from ...te.compute import compute
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .conv2d import declare_convolution
from .cpu import int8_conv2d, int8_gemm
from .cpu.int8 import Epilogue
from .cpu.product import ProductRequest
from .cpu.request import ConvolutionRequest


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
    cfg.add_flop(operators.flops(sums))
    plan = int8_gemm.requantizing_plan(cfg, ProductRequest(a, b, sums, constant_b), epilogue)
    cfg.define_estimate(plan.estimate, *plan.estimated)
    s, out = plan.scheduled()
    return s, [*given, out]


@template("qconv2d")
def qconv2d(
    data: tuple[int, int, int, int],
    filters: tuple[int, int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
    layout: str = "NCHW",
    dtype: str = "uint8",
    out_dtype: str = "uint8",
    multiplier: float | None = None,
    bias: bool = False,
    data_zero: int = 0,
    zero_point: int = 0,
    constant_weights: bool = False,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable convolution of bytes by int8 weights, requantized; see `conv2d` and `operators.requantize`.

    dtype       of the image, "uint8" or "int8"; padding is its zero, `data_zero`
    multiplier  scale of all sums; None for a tensor of them, one per output channel, that follows the weights in calls
    bias        whether an int32 tensor of that shape follows
    constant_weights  whether what is made of weights and bias alone may be made ahead of the calls
    Raises TuneError for channels that no schedule fits: groups that are no whole vectors of output channels.
    """
    _check_target("qconv2d")
    image, kernel = declare_convolution(data, filters, groups, layout, dtype, "int8")
    epilogue = _epilogue(filters[0], multiplier, bias, zero_point, out_dtype, data_zero)
    window = (stride, padding, dilation)
    total = operators.conv2d(_centred(image, data_zero), kernel, *window, layout, "int32", groups)
    given = [image, kernel, *_given(epilogue)]
    cfg = get_config()
    cfg.define_meaning([*given, epilogue.declared(total, 1 if layout == "NCHW" else 3)])
    request = ConvolutionRequest(image, kernel, *window, groups, layout, "int32", constant_weights)
    cfg.add_flop(operators.flops(request.declare()))
    plan = int8_conv2d.requantizing_plan(cfg, request, epilogue)
    if plan is None:
        fact = f"{filters[0]} output channels in {groups} groups, layout {layout}"
        raise TuneError("qconv2d", fact, advice="NCHW or NHWC, and groups of whole vectors")
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
