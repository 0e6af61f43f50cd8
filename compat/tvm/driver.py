"""`tvm.lower` and `tvm.build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.errors import ArgumentError
from ...ir.stmt import Function
from ...runtime import build as native
from ...schedule import Schedule
from ...schedule import lower as lower_schedule
from .runtime import Module
from .target import chosen


def lower(
    inp: Schedule | Function,
    args: Sequence[Any] | None = None,
    name: str = "main",
    binds: Mapping[Any, Any] | None = None,
    simple_mode: bool = False,
) -> Function:
    """Give the loop nest of a schedule as a function; printing shows it.

    Raises ArgumentError for `binds`: a kernel's buffers are those of its arguments.
    """
    _refuse_binds("lower", binds)
    match inp:
        case Function():
            return inp
        case _:
            return lower_schedule(inp, args or (), name)


def build(
    inputs: Schedule | Function | Sequence[Function],
    args: Sequence[Any] | None = None,
    target: object = None,
    target_host: object = None,
    runtime: object = None,
    name: str = "default_function",
    binds: Mapping[Any, Any] | None = None,
) -> Module:
    """Compile a schedule or lowered functions, for the target in force if none is given."""
    _refuse_binds("build", binds)
    return Module(native.build(inputs, args, chosen(target), name))


def _refuse_binds(step: str, binds: Mapping[Any, Any] | None) -> None:
    if binds:
        raise ArgumentError(
            step, "binds is given", advice="in_buffers and out_buffers of te.extern, for its statements"
        )
