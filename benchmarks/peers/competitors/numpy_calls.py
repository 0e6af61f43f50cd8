"""NumPy: products of matrices, as its BLAS computes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operation, Product


class NumpyCalls:
    """Products into an array that is there."""

    version = np.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Need nothing: BLAS has its threads from the environment."""

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give products only."""
        if type(operation) is Product:
            out = empty(operation.result)
            yield Form("", partial(np.matmul, *arrays, out=out), out.copy)
