"""NumPy: products of matrices, as its BLAS computes them; with one thread, reductions and functions of elements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operation, Product, Reduction, Unary


class NumpyCalls:
    """Operators into an array that is there."""

    version = np.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Need nothing: BLAS has its threads from the environment."""

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give what NumPy has one function for."""
        match operation:
            case Product():
                out = empty(operation.result)
                yield Form("", partial(np.matmul, *arrays, out=out), out.copy)
            case Reduction(axis=axis, operator="argmax"):
                found = np.empty(operation.result.shape, np.intp)
                yield Form("", partial(np.argmax, *arrays, axis=axis, out=found), found.copy)
            case Reduction(axis=axis, operator=operator):
                out = empty(operation.result)
                yield Form("", partial(getattr(np, operator), *arrays, axis=axis, out=out), out.copy)
            case Unary(operator="exp" | "tanh" as operator):
                out = empty(operation.result)
                yield Form("", partial(getattr(np, operator), *arrays, out=out), out.copy)
            case _:
                return
