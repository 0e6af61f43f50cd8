"""What the screens for GPUs say of configurations: columns for the cost model that cost a lowering each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..codegen.cuda.screens import FEATURE_NAMES
from ..ir.errors import Error
from .build_cuda import screened
from .built import Progress
from .task import Task


class Figures:
    """The figures of configurations of one task for a GPU, worked out once each.

    A configuration that is refused, by the template, a limit or a screen, has none.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: dict[int, np.ndarray] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the columns."""
        return FEATURE_NAMES

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        """Give the figures of configurations by number: (configurations, columns) float32, NaN where refused."""
        for index in indices:
            if index not in self._known:
                self._known[index] = self._of(index)
        return np.array([self._known[index] for index in indices], np.float32).reshape(len(indices), len(FEATURE_NAMES))

    def _of(self, index: int) -> np.ndarray:
        try:
            found = screened(self._task, self._task.config_space.get(index), Progress())
        except Error:
            return np.full(len(FEATURE_NAMES), np.nan)
        if found.failures(self._task.target):
            return np.full(len(FEATURE_NAMES), np.nan)
        return np.array(list(found.main.features().values()))
