"""Every other operator, by what is known of programs without products, or stage by stage."""

from __future__ import annotations

from typing import Any

from ... import te
from ...ir.errors import TuneError
from ...schedule.schedule import Schedule, create_schedule
from ...te import operators
from ...te.tensor import Tensor
from ..template import get_config, get_target, template


@template("generic", version=2)
def generic(
    operator: str,
    shapes: tuple[tuple[int, ...], ...],
    options: tuple[tuple[str, Any], ...] = (),
    dtype: str = "float32",
) -> tuple[Schedule, list[Tensor]]:
    """Give any operator of `te.operators` in tunable form.

    shapes   of its tensors, in order
    options  its other arguments, as (name, value) pairs
    Raises TuneError for an operator that does not exist.
    """
    function = getattr(operators, operator, None)
    if function is None:
        known = ", ".join(n for n in operators.__all__)
        raise TuneError("generic", f"there is no operator {operator!r}", advice=f"one of {known}")
    inputs = [te.placeholder(shape, dtype, name=f"in{n}") for n, shape in enumerate(shapes)]
    out = function(*inputs, **dict(options))
    s = create_schedule(out.op)
    schedule_stages(s)
    return s, [*inputs, out]


def schedule_stages(s: Schedule) -> None:
    """Define and apply the knobs of every stage, as the target in force has it."""
    if get_target().kind == "cuda":
        from .cuda import rows  # most programs need one of the two
    else:
        from .cpu import rows
    rows.schedule_stages(get_config(), s)
