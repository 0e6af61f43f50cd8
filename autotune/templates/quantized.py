"""Products and convolutions of bytes whose sums are made bytes again before they are stored."""

from __future__ import annotations

from dataclasses import replace

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule
from ...te import operators
from ...te.compute import compute
from ...te.operators.quantize import Addition, Clip
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .conv2d import declare_convolution
from .convolution import Convolution
from .cpu import int8_conv2d, int8_depthwise_columns, int8_depthwise_rows, int8_gemm
from .cpu.int8_depthwise import DepthwiseRequest
from .cpu.product import ProductRequest
from .cpu.request import ConvolutionRequest
from .depthwise import declare_depthwise
from .epilogue import BIAS, RESIDUAL, Epilogue

Addends = tuple[float, int, float, int]  # the numbers of an `Addition`


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
    clip: Clip | None = None,
    residual: Addends | None = None,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable C (m, n) = requantized (A (m, k) - data_zero) B (k, n), from int8 B; see `operators.requantize`.

    transpose_b  B is (n, k)
    dtype        of A, "uint8" or "int8"; B is int8 and its zero is 0
    multiplier   scale of all sums; None for a tensor of them, (n,) float32, that follows B in calls
    bias         whether an int32 tensor (n,) follows
    constant_b   whether what is made of B and bias alone may be made ahead of the calls
    clip         the least and the greatest byte of the result, such as (zero_point, 255) for relu
    residual     how the last tensor, in the result's shape and type, is added to the bytes that the sums become, see
                 `operators.add_quantized`; `zero_point` and `clip` are then the result's.  None for none
    """
    _check_target("qmatmul")
    a = te.placeholder((m, k), dtype, name="A")
    b = te.placeholder((n, k) if transpose_b else (k, n), "int8", name="B")
    c = operators.matmul(_centred(a, data_zero), b, None, "int32", False, transpose_b)
    epilogue = _epilogue(c, n, multiplier, bias, zero_point, out_dtype, clip, residual)
    given = [a, b, *epilogue.given]
    cfg = get_config()
    cfg.define_meaning([*given, epilogue.requantized(c, 1)])
    sums = operators.matmul(a, b, None, "int32", False, transpose_b)
    cfg.add_flop(operators.flops(sums))
    plan = int8_gemm.any_plan(cfg, ProductRequest.of(a, b, sums, constant_b, epilogue), data_zero)
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
    clip: Clip | None = None,
    residual: Addends | None = None,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable convolution of bytes by int8 weights, requantized; see `conv2d` and `operators.requantize`.

    dtype       of the image, "uint8" or "int8"; padding is its zero, `data_zero`
    multiplier  scale of all sums; None for a tensor of them, one per output channel, that follows the weights in calls
    bias        whether an int32 tensor of that shape follows
    constant_weights  whether what is made of weights and bias alone may be made ahead of the calls
    clip        the least and the greatest byte of the result, such as (zero_point, 255) for relu
    residual    how the last tensor, in the result's shape and type, is added to the bytes that the sums become, see
                `operators.add_quantized`; `zero_point` and `clip` are then the result's.  None for none
    Raises TuneError for channels that no schedule fits: groups that are no whole vectors of output channels.
    """
    _check_target("qconv2d")
    image, kernel = declare_convolution(data, filters, groups, layout, dtype, "int8")
    window = (stride, padding, dilation)
    total = operators.conv2d(_centred(image, data_zero), kernel, *window, layout, "int32", groups)
    epilogue = _epilogue(total, filters[0], multiplier, bias, zero_point, out_dtype, clip, residual)
    given = [image, kernel, *epilogue.given]
    cfg = get_config()
    cfg.define_meaning([*given, epilogue.requantized(total, 1 if layout == "NCHW" else 3)])
    request = ConvolutionRequest(image, kernel, *window, groups, layout, "int32", constant_weights, epilogue)
    cfg.add_flop(operators.flops(request.declare()))
    plan = int8_conv2d.any_plan(cfg, request, data_zero)
    if plan is None:
        fact = f"{filters[0]} output channels in {groups} groups, layout {layout}"
        raise TuneError("qconv2d", fact, advice="NCHW or NHWC, and groups of whole vectors")
    cfg.define_estimate(plan.estimate, *plan.estimated)
    s, out = plan.scheduled()
    return s, [*given, out]


@template("qdepthwise_conv2d")
def qdepthwise_conv2d(
    data: tuple[int, int, int, int],
    window: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    layout: str = "NCHW",
    dtype: str = "uint8",
    out_dtype: str = "uint8",
    multiplier: float | None = None,
    bias: bool = False,
    data_zero: int = 0,
    zero_point: int = 0,
    constant_weights: bool = False,
    clip: Clip | None = None,
    residual: Addends | None = None,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable depthwise convolution of bytes, one filter of int8 for each channel, requantized.

    data    batch, channels, height, width, whatever the layout
    window  kernel height and width
    layout  "NCHW" or "NHWC"; the weights are (C, 1, KH, KW) or (KH, KW, C, 1), as the layout goes
    The others are as in `qconv2d`.
    Raises TuneError for a layout in blocks, and on a GPU.
    """
    _check_target("qdepthwise_conv2d")
    image, kernel = declare_depthwise(data, window, layout, dtype, "int8")
    conv = Convolution.depthwise(image, kernel, stride, padding, dilation, layout)
    form = operators.depthwise_conv2d_nchw if conv.is_nchw else operators.depthwise_conv2d_nhwc
    total = form(_centred(image, data_zero), kernel, stride, padding, dilation, "int32")
    epilogue = _epilogue(total, data[1], multiplier, bias, zero_point, out_dtype, clip, residual)
    given = [image, kernel, *epilogue.given]
    cfg = get_config()
    cfg.define_meaning([*given, epilogue.requantized(total, 1 if conv.is_nchw else 3)])
    cfg.add_flop(operators.flops(form(image, kernel, stride, padding, dilation, "int32")))
    algorithm = int8_depthwise_rows if conv.is_nchw else int8_depthwise_columns
    plan = algorithm.plan(cfg, DepthwiseRequest(conv, epilogue, data_zero, constant_weights))
    cfg.define_estimate(plan.estimate, *plan.estimated)
    s, out = plan.scheduled()
    return s, [*given, out]


def _epilogue(
    total: Tensor,
    channels: int,
    multiplier: float | None,
    bias: bool,
    zero_point: int,
    out_dtype: str,
    clip: Clip | None,
    residual: Addends | None,
) -> Epilogue:
    """Give the epilogue of int32 sums, with tensors of its own."""
    scale = te.placeholder((channels,), "float32", name="scale") if multiplier is None else multiplier
    added = te.placeholder((channels,), "int32", name=BIAS) if bias else None
    epilogue = Epilogue(added, scale=scale, zero_point=zero_point, clip=clip, dtype=out_dtype)
    if residual is None:
        return epilogue
    other = te.placeholder(total.shape, out_dtype, name=RESIDUAL)
    return replace(epilogue, residual=other, addition=Addition(*residual))


def _centred(data: Tensor, zero: int) -> Tensor:
    """Give the data with their zero at 0."""
    return data if zero == 0 else compute(data.shape, lambda *i: data[i].astype("int32") - zero, name="centred")


def _check_target(step: str) -> None:
    if get_target().kind == "cuda":
        raise TuneError(step, "no schedule for a GPU", advice="a processor, or matmul and conv2d of int8")
