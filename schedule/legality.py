"""Why iterations of a loop cannot run at the same time: two that collide, as a sentence."""

from __future__ import annotations

from ..te.axis import Axis
from .table import StageState


def collision(stage: StageState, axis: Axis) -> str:
    """Give two iterations of a reduction axis that update one element: `i=0, k=0 and i=0, k=1 both update C[0]`."""
    spatial = [a.name for a in stage.op.axis]
    element = ", ".join("0" for _ in spatial)
    fixed = "".join(f"{name}=0, " for name in spatial)
    return f"{fixed}{axis.name}=0 and {fixed}{axis.name}=1 both update {stage.id}[{element}]"
