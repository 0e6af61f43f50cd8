"""Calls of kernels whose constants are prepared: what `precompute` put in a function of its own runs once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..schedule.lower import preparing
from .array import empty
from .kernel import BoundCall
from .module import LibraryModule, Module
from .signature import ArrayParam, Signature, evaluate_extent


def bind_prepared(
    module: Module | LibraryModule, name: str, arrays: Mapping[str, np.ndarray], threads: int | None = None
) -> BoundCall:
    """Give a call of the kernel `name`, after running the one that prepares its constants, if there is one.

    arrays  those of the program, by the names of its parameters; the constants are not read by later calls
    Raises KeyError for an array that is missing, ArgumentError for one that does not fit.
    """
    known = dict(arrays)
    if preparing(name) in list(module):
        prepare = module[preparing(name)]
        known |= prepared_arrays(prepare.signature, known)
        prepare(*(known[p.name] for p in prepare.signature.params))
    kernel = module[name]
    return kernel.bind(*(known[p.name] for p in kernel.signature.params), threads=threads)


def prepared_arrays(signature: Signature, known: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Give arrays, aligned as vectors are, for the parameters of a preparing function that are not known yet."""
    return {
        p.name: empty(tuple(evaluate_extent(e, {}) for e in p.shape), p.dtype)
        for p in signature.params
        if isinstance(p, ArrayParam) and p.name not in known
    }
