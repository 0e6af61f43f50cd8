"""Activation functions of scalar expressions, by name: what a layer does to each of its sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

from ..ir import arith
from ..ir.expr import Expr
from . import math

Activation = Callable[[Expr], Expr]


def relu(x: Expr) -> Expr:
    """Give the greater of x and 0."""
    return arith.maximum(x, 0)


def relu6(x: Expr) -> Expr:
    """Give x, at least 0 and at most 6."""
    return arith.maximum(arith.minimum(x, 6), 0)


def gelu(x: Expr) -> Expr:
    """Give x times the normal distribution function at x."""
    return x * 0.5 * (math.erf(x * sqrt(0.5)) + 1.0)


def silu(x: Expr) -> Expr:
    """Give x / (1 + exp(-x))."""
    return x * math.sigmoid(x)


def hardswish(x: Expr) -> Expr:
    """Give x relu6(x + 3) / 6."""
    return x * relu6(x + 3.0) * (1 / 6)


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": relu,
    "relu6": relu6,
    "gelu": gelu,
    "silu": silu,
    "hardswish": hardswish,
    "sigmoid": math.sigmoid,
    "tanh": math.tanh,
}
