"""Which elements of large results are compared: whole rows and columns, the first and the last among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..te.evaluate import Boxes
from ..te.grid import Box, Kept
from ..te.sample import needed, whole_box, work
from ..te.tensor import Tensor

LEAST = 32  # positions of a dimension that are taken
NEIGHBOURS = 8  # of them in a row, where they lie in the middle
LARGE = 4 * LEAST  # a dimension of which a part is worth taking
TRIES = 2  # to meet the time: thin stripes take more than their share


def crossings(box: Box) -> tuple[Any, ...]:
    """Give what an array is indexed by for the elements of a box."""
    return np.ix_(*[np.arange(kept.extent) if kept.at is None else kept.at for kept in box])


@dataclass(frozen=True, slots=True)
class Stripe:
    """Some positions of one dimension of the results, with all of the others; what is needed for them.

    seconds  that it takes about to compute
    """

    box: Box
    boxes: Boxes
    seconds: float


def stripes(outputs: Sequence[Tensor], limit_s: float, product_s: float) -> list[Stripe]:
    """Give stripes across the results that take about so long to compute, or none where all results do.

    product_s  time of a term of a product of large matrices
    One stripe crosses each large dimension, so that each place along each other one is compared.  A stripe has the
    first positions, the last, and runs of neighbours between: borders, whole tiles, and places all over.  There is none
    where results differ in shape, or cost as much in part as they do as a whole.
    """
    whole_s = work(outputs, {}).seconds(product_s)
    if whole_s <= limit_s or len({t.shape for t in outputs}) > 1:
        return []
    whole = whole_box(outputs[0].op)
    large = [d for d, kept in enumerate(whole) if kept.extent >= LARGE]
    share, found = limit_s / whole_s, []
    for _ in range(TRIES):
        found = [_stripe(outputs, whole, d, share / len(large), product_s) for d in large]
        found = [stripe for stripe in found if stripe.seconds < whole_s / 2]
        share *= limit_s / max(limit_s, sum(stripe.seconds for stripe in found))
    return found


def _stripe(outputs: Sequence[Tensor], whole: Box, dim: int, share: float, product_s: float) -> Stripe:
    count = max(LEAST, int(whole[dim].extent * share))
    at = Kept(whole[dim].extent, positions(whole[dim].extent, count))
    box = (*whole[:dim], at, *whole[dim + 1 :])
    boxes = needed(outputs, {t.op: box for t in outputs})
    return Stripe(box, boxes, work(outputs, boxes).seconds(product_s))


def positions(extent: int, count: int) -> np.ndarray:
    """Give about `count` positions of a dimension, ascending and always the same: the first, the last, runs between."""
    if count >= extent:
        return np.arange(extent)
    ends = max(NEIGHBOURS, count // 4)
    rng = np.random.default_rng(extent)
    runs = rng.integers(0, extent - NEIGHBOURS, max(1, (count - 2 * ends) // NEIGHBOURS))
    middle = (runs[:, None] + np.arange(NEIGHBOURS)).ravel()
    return np.unique(np.concatenate([np.arange(ends), np.arange(extent - ends, extent), middle]))
