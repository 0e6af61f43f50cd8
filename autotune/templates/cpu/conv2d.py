"""Convolutions on processors: the algorithms that there are for one."""

from __future__ import annotations

from ....schedule.schedule import Schedule
from ....te.tensor import Tensor
from ...space import Knobs
from . import conv2d_blocked, conv2d_direct, conv2d_pointwise, conv2d_winograd, int8_conv2d
from .algorithm import choose
from .request import ConvolutionRequest

ALGORITHMS = (  # each gives None for a convolution that it does not fit
    conv2d_blocked.plan,
    conv2d_pointwise.plan,
    conv2d_direct.plan,
    conv2d_winograd.plan,
)


def scheduled(cfg: Knobs, request: ConvolutionRequest) -> tuple[Schedule, Tensor]:
    """Give a schedule of a convolution, and its result."""
    meaning = request.declare_result(request.declare())
    cfg.define_meaning([request.image, request.kernel, *request.epilogue.given, meaning])
    by_dots_of_bytes = int8_conv2d.plan(cfg, request)
    if by_dots_of_bytes is not None:  # nothing else comes near
        return choose(cfg, [by_dots_of_bytes]).scheduled()
    plans = (plan(cfg, request) for plan in ALGORITHMS)
    return choose(cfg, [plan for plan in plans if plan is not None]).scheduled()
