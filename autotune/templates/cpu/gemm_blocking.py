"""Which blocking of a product the cost model prefers: what an untuned kernel takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from ....ir.target import Target
from .. import register_tile as tile
from .gemm_cost import Blocking, ProductShape

MODELLED = ("tile_m", "tile_n", "parts_m", "parts_n", "parts_k", "outer", "pack_a", "pack_b")  # knobs
TILE = ("tile_m", "tile_n")
TOGETHER = (("parts_m", "parts_k", "pack_a"), ("parts_n", "pack_a", "pack_b"), (*TILE, "pack_a"))  # changed at once
SWEEPS = 3
SUMS_SHARE = 13 / 16  # of the registers that sums may take: with more of them LLVM begins to spill

Values = Mapping[str, Any]  # of knobs, by name: one each, or a column over a population


def share_of_peak(shape: ProductShape, values: Values) -> Any:
    """Give the share of the peak that values of the knobs promise; register tiles by their size in elements."""
    return shape.share_of_peak(_blocking(shape, values))


def _blocking(shape: ProductShape, values: Values) -> Blocking:
    at = {name: np.asarray(value) for name, value in values.items()}
    return Blocking(
        at["tile_m"],
        -(-at["tile_n"] // shape.lanes),
        at["parts_m"],
        at["parts_n"],
        at["parts_k"],
        at["outer"] == "columns",
        at["pack_a"] == "block",
        at["pack_b"],
    )


def fits(shape: ProductShape, target: Target, values: Values) -> Any:
    """Tell whether the register tile fits the registers, and whether there are as many of them as blocks."""
    rows, columns = values["tile_m"], values["tile_n"]
    vectors = -(-columns // shape.lanes)
    spare = rows * vectors <= SUMS_SHARE * tile.registers_of(target)
    return (
        tile.fits_registers(target, rows, vectors)
        & spare
        & (values["parts_m"] <= -(-shape.m // rows))
        & (values["parts_n"] <= -(-shape.n // columns))
    )


@lru_cache(256)
def best(shape: ProductShape, target: Target, choices: tuple[tuple[Any, ...], ...]) -> dict[str, Any]:
    """Give the values of the knobs, each one of its `choices`, that promise most.

    Found by changing the knobs that hang together most at once and the others one after the other, from a start for
    each way to share the work out among threads.
    """
    by_name: dict[str, tuple[Any, ...]] = dict(zip(MODELLED, choices, strict=True))
    found: list[dict[str, Any]] = []
    for outer in by_name["outer"]:
        values = {name: options[0] for name, options in by_name.items()} | {"outer": outer}
        values |= _best_of(values, [(name, by_name[name]) for name in TILE], lambda v: _fitting(shape, target, v))
        for names in TOGETHER * SWEEPS:
            options = [(name, by_name[name]) for name in names]
            values |= _best_of(values, options, lambda v: _promising(shape, target, v))
        found.append(values)
    return max(found, key=lambda values: float(share_of_peak(shape, values)))


def _fitting(shape: ProductShape, target: Target, values: Values) -> Any:
    """Give how fast register tiles are by themselves."""
    return np.where(fits(shape, target, values), 1 / shape.computing(_blocking(shape, values)), -1.0)


def _promising(shape: ProductShape, target: Target, values: Values) -> Any:
    return np.where(fits(shape, target, values), share_of_peak(shape, values), -1.0)


def _best_of(
    values: Values, options: Sequence[tuple[str, Sequence[Any]]], promise: Callable[[Values], Any]
) -> dict[str, Any]:
    """Give the values of a few knobs that promise most beside given ones of the others."""
    names = [name for name, _ in options]
    columns = zip(*product(*(candidates for _, candidates in options)), strict=True)
    population = dict(values) | {name: np.array(column) for name, column in zip(names, columns, strict=True)}
    first = int(np.argmax(promise(population)))
    return {name: population[name][first].item() for name in names}
