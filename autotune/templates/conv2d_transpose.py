"""Transposed convolutions."""

from __future__ import annotations

from math import prod

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.operators.conv2d_transpose import Enlargement
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .cpu import conv2d_transpose as cpu_conv2d_transpose
from .cpu.transposed_request import TransposedRequest
from .generic import schedule_stages


@template("conv2d_transpose")
def conv2d_transpose(
    data: tuple[int, int, int, int],
    filters: tuple[int, int, int],
    stride: int,
    padding: int,
    output_padding: int = 0,
    groups: int = 1,
    layout: str = "NCHW",
    dtype: str = "float32",
    constant_weights: bool = False,
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable transposed 2-D convolution.

    data     batch, input channels, height, width, whatever the layout
    filters  output channels, kernel height, kernel width
    layout   "NCHW" with weights (C, F / groups, KH, KW), or "NHWC" with weights (KH, KW, F / groups, C)
    constant_weights  whether what is made of the weights alone may be made ahead of the calls; on a GPU it never is
    Its operations are counted as those of the convolution that it is the gradient of: all products of pixels and taps,
    whether or not padding leaves them out.
    """
    image, kernel = _declare(data, filters, groups, layout, dtype)
    cfg = get_config()
    cfg.add_flop(2.0 * prod(data) * prod(filters) / groups)
    out = operators.conv2d_transpose(image, kernel, stride, padding, output_padding, layout, groups=groups)
    if get_target().kind == "cuda":
        s = create_schedule(out.op)
        schedule_stages(s)
        return s, [image, kernel, out]
    geometry = Enlargement.of(filters[1:], stride, padding, output_padding)
    request = TransposedRequest(image, kernel, out, geometry, groups, layout == "NCHW", constant_weights)
    s, out = cpu_conv2d_transpose.scheduled(cfg, request)
    return s, [image, kernel, out]


def _declare(
    data: tuple[int, int, int, int], filters: tuple[int, int, int], groups: int, layout: str, dtype: str
) -> tuple[Tensor, Tensor]:
    """Give the placeholders of image and weights."""
    batch, channels, height, width = data
    count, kh, kw = filters
    if channels % groups or count % groups:
        fact = f"{channels} input and {count} output channels in {groups} groups"
        raise TuneError("conv2d_transpose", fact, advice="groups that divide them")
    shapes = {
        "NCHW": ((batch, channels, height, width), (channels, count // groups, kh, kw)),
        "NHWC": ((batch, height, width, channels), (kh, kw, count // groups, channels)),
    }
    if layout not in shapes:
        raise TuneError("conv2d_transpose", f"no such schedule in layout {layout}", advice="NCHW or NHWC")
    image, kernel = shapes[layout]
    return te.placeholder(image, dtype, name="data"), te.placeholder(kernel, dtype, name="kernel")
