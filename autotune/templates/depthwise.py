"""Depthwise convolutions in every layout."""

from __future__ import annotations

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import get_config, get_target, template
from .conv2d import refuse_epilogue
from .convolution import Convolution, block_of, channel_of
from .cpu import depthwise as cpu_depthwise
from .cpu import depthwise_halves, depthwise_turned
from .cpu.algorithm import choose
from .epilogue import EpilogueForm


@template("depthwise_conv2d", version=2)
def depthwise_conv2d(
    data: tuple[int, int, int, int],
    window: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int = 1,
    layout: str = "NCHW",
    dtype: str = "float32",
    epilogue: str = "",
) -> tuple[Schedule, list[Tensor]]:
    """Give a tunable depthwise convolution with one filter for each channel.

    data    batch, channels, height, width, whatever the layout
    window  kernel height and width
    layout  "NCHW", "NHWC" or blocked "NCHW16c"; the weights are (C, 1, KH, KW), (KH, KW, C, 1) or
            (C / 16, 1, KH, KW, 1, 16), as the layout goes
    epilogue  what becomes of the sums, see `EpilogueForm`; its tensors follow the weights in calls
    Raises TuneError for an epilogue on a GPU.
    """
    form_of_epilogue = EpilogueForm.parse(epilogue)
    image, kernel = declare_depthwise(data, window, layout, dtype)
    form = {"NCHW": operators.depthwise_conv2d_nchw, "NHWC": operators.depthwise_conv2d_nhwc}.get(
        layout, operators.depthwise_conv2d_NCHWc
    )
    sums = form(image, kernel, stride, padding, dilation)
    fused = form_of_epilogue.of(sums, data[1])
    out = fused.declared(sums, lambda at: channel_of(layout, at))
    if get_target().kind == "cuda":
        refuse_epilogue("depthwise_conv2d", form_of_epilogue)
        from .cuda import depthwise as cuda_depthwise  # most programs need none of it

        s, conv = create_schedule(out.op), Convolution.depthwise(image, kernel, stride, padding, dilation, layout)
        cuda_depthwise.schedule(get_config(), s, conv)
        return s, [image, kernel, out]
    cfg, given = get_config(), [image, kernel, *fused.given]
    cfg.define_meaning([*given, out])
    if epilogue:
        cfg.add_flop(operators.flops(sums))
    plans = [cpu_depthwise.plan(cfg, sums, out, layout, stride)]
    if layout == "NCHW":
        conv = Convolution.depthwise(image, kernel, stride, padding, dilation, layout)
        turned = depthwise_turned.plan(cfg, conv, fused)
        plans = [*plans, turned] if turned is not None else plans
        halves = depthwise_halves.plan(cfg, conv, fused)
        plans = [*plans, halves] if halves is not None else plans
    s, out = choose(cfg, plans).scheduled()
    return s, [*given, out]


def declare_depthwise(
    data: tuple[int, int, int, int], window: tuple[int, int], layout: str, dtype: str, of_weights: str = ""
) -> tuple[Tensor, Tensor]:
    """Give image and weights in a layout.  Raises TuneError for channels that are not whole blocks.

    of_weights  their type, that of the image by default
    """
    batch, channels, height, width = data
    kh, kw = window
    block = block_of(layout)
    if channels % block:
        fact = f"{channels} channels are not whole blocks of {block}"
        raise TuneError("depthwise_conv2d", fact, advice="the layout NCHW or NHWC, or a block that divides them")
    shapes = {
        "NCHW": ((batch, channels, height, width), (channels, 1, kh, kw)),
        "NHWC": ((batch, height, width, channels), (kh, kw, channels, 1)),
    }
    blocked = ((batch, channels // block, height, width, block), (channels // block, 1, kh, kw, 1, block))
    image, kernel = shapes.get(layout, blocked)
    return te.placeholder(image, dtype, name="data"), te.placeholder(kernel, of_weights or dtype, name="kernel")
