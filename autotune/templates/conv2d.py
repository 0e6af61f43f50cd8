"""Convolutions, in every layout and by whatever algorithm the target has for them."""

from __future__ import annotations

from dataclasses import replace

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .convolution import Convolution, block_of
from .cpu import conv2d as cpu_conv2d
from .cpu.request import ConvolutionRequest
from .epilogue import EpilogueForm
from .product_types import ProductTypes


@template("conv2d")
def conv2d(
    data: tuple[int, int, int, int],
    filters: tuple[int, int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    groups: int = 1,
    layout: str = "NCHW",
    dtype: str = "float32",
    constant_weights: bool = False,
    epilogue: str = "",
    relative_error: float | None = None,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable 2-D convolution.

    data     batch, input channels, height, width, whatever the layout
    filters  output channels, kernel height, kernel width
    layout   "NCHW", "NHWC" or blocked "NCHW16c"; the weights are OIHW, HWIO or OIHW16i16o, as the layout goes
    dtype    of image, weights and result; int8 gives int32, and so does uint8, whose weights are int8; "tf32" stands
             for float32 that tensor cores may round to 10 bits of fraction
    constant_weights  whether what is made of the weights alone may be made ahead of the calls; on a GPU it never is
    epilogue  what becomes of the sums, see `EpilogueForm`; its tensors follow the weights in calls
    relative_error  that the sums may have, relative to their scale, see `te.tolerance.accepting`; by default that of a
                    direct evaluation
    Raises TuneError for an epilogue or a relative error on a GPU.
    """
    types, form = ProductTypes.of(dtype), EpilogueForm.parse(epilogue)
    image, kernel = declare_convolution(data, filters, groups, layout, types.operands, types.weights)
    if get_target().kind == "cuda":
        refuse_epilogue("conv2d", form)
        _refuse_error(relative_error)
        from .cuda import conv2d as cuda_conv2d  # most programs need none of it

        conv = Convolution.of(image, kernel, stride, padding, dilation, groups, layout)
        s, out = cuda_conv2d.scheduled(get_config(), conv, types)
        return s, [image, kernel, out]
    window = (stride, padding, dilation)
    request = ConvolutionRequest(
        image, kernel, *window, groups, layout, types.result, constant_weights, relative_error=relative_error
    )
    if epilogue:
        total = request.declare()
        request = replace(request, epilogue=form.of(total, filters[0]))
        get_config().add_flop(operators.flops(total))
    s, out = cpu_conv2d.scheduled(get_config(), request)
    return s, [image, kernel, *request.epilogue.given, out]


def refuse_epilogue(step: str, form: EpilogueForm) -> None:
    """Raise TuneError for an epilogue where there is no schedule with one."""
    if str(form):
        fact = f"no schedule for a GPU has the epilogue {str(form)!r}"
        raise TuneError(step, fact, advice="no epilogue, or a processor: --target llvm")


def _refuse_error(relative_error: float | None) -> None:
    if relative_error is not None:
        fact = f"no schedule for a GPU makes use of a relative error of {relative_error:g}"
        raise TuneError("conv2d", fact, advice="None, or a processor: --target llvm")


def declare_convolution(
    data: tuple[int, int, int, int],
    filters: tuple[int, int, int],
    groups: int,
    layout: str,
    dtype: str,
    weights_dtype: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the placeholders of image and weights in a layout.

    Raises TuneError for an unknown layout, or channels that are not whole blocks and groups.
    """
    batch, channels, height, width = data
    count, kh, kw = filters
    block = block_of(layout)
    if channels % groups or count % groups:
        fact = f"{channels} input and {count} output channels in {groups} groups"
        raise TuneError("conv2d", fact, advice="a number of groups that divides both")
    if channels % (groups * block) or count % (groups * block):
        fact = f"{channels} input and {count} output channels in {groups} groups are not whole blocks of {block}"
        raise TuneError("conv2d", fact, advice="the layout NCHW or NHWC, or a block that divides them")
    shapes = {
        "NCHW": ((batch, channels, height, width), (count, channels // groups, kh, kw)),
        "NHWC": ((batch, height, width, channels), (kh, kw, channels // groups, count)),
    }
    blocked = (
        (batch, channels // block, height, width, block),
        (count // block, channels // groups // block, kh, kw, block, block),
    )
    image, kernel = shapes.get(layout, blocked)
    return te.placeholder(image, dtype, name="data"), te.placeholder(kernel, weights_dtype or dtype, name="kernel")
