"""`autotune softmax`, `layer_norm`, `reduction` and `elementwise`: operators on the rows of a matrix."""

from __future__ import annotations

import argparse
from typing import Any

from ..autotune.templates.rows import REDUCTIONS
from .arguments import one_of
from .operators import Operator

FORM = ("M", "N")
FUNCTIONS = ("relu", "gelu", "sigmoid", "tanh", "exp", "sqrt", "erf", "abs")


def _shape(shape: tuple[int, ...], _: argparse.Namespace) -> tuple[Any, ...]:
    return shape


def _reduction_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--axis", type=int, choices=(0, 1), default=1, help="1 along rows (default), 0 along columns")
    kind = one_of("reduction", REDUCTIONS)
    parser.add_argument("--op", type=kind, default="sum", metavar="NAME", help=", ".join(REDUCTIONS))


def _reduction(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.axis, flags.op


def _elementwise_flags(parser: argparse.ArgumentParser) -> None:
    kind = one_of("elementwise operator", FUNCTIONS)
    parser.add_argument("--op", type=kind, default="relu", metavar="NAME", help=", ".join(FUNCTIONS))


def _elementwise(shape: tuple[int, ...], flags: argparse.Namespace) -> tuple[Any, ...]:
    return *shape, flags.op


SOFTMAX = Operator("softmax", "a softmax along rows", FORM, "data (M, N)", _shape)
LAYER_NORM = Operator("layer_norm", "a normalization of rows", FORM, "data (M, N), gamma (N), beta (N)", _shape)
REDUCTION = Operator("reduction", "a reduction of a matrix", FORM, "data (M, N)", _reduction, _reduction_flags)
ELEMENTWISE = Operator(
    "elementwise", "an operator on data + bias", FORM, "data (M, N), bias (N)", _elementwise, _elementwise_flags
)
