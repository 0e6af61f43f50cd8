"""What the screens for GPUs say of configurations: columns for the cost model that cost a lowering each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..codegen.cuda.screens.screens import FEATURE_NAMES
from ..ir.errors import Error
from ..runtime.worker import Workers
from .build_cuda import screened
from .built import Progress
from .task import Task

PATIENCE_S = 10.0  # for lowering one configuration
REFUSED = np.full(len(FEATURE_NAMES), np.nan)


class Figures:
    """The figures of configurations of one task for a GPU, worked out once each.

    A configuration that is refused, by the template, a limit or a screen, has none.
    """

    def __init__(self, task: Task, processes: int = 0) -> None:
        """Lower in this process, or in others, which are forked here: before this one starts threads."""
        self._task = task
        self._known: dict[int, np.ndarray] = {}
        self._workers = Workers(self._of, processes) if processes else None

    def close(self) -> None:
        """End the processes."""
        if self._workers:
            self._workers.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the columns."""
        return FEATURE_NAMES

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        """Give the figures of configurations by number: (configurations, columns) float32, NaN where refused."""
        missing = [index for index in dict.fromkeys(map(int, indices)) if index not in self._known]
        self._known.update(zip(missing, self._all_of(missing), strict=True))
        rows = [self._known[int(index)] for index in indices]
        return np.array(rows, np.float32).reshape(len(rows), len(FEATURE_NAMES))

    def _all_of(self, indices: Sequence[int]) -> list[np.ndarray]:
        if self._workers is None:
            return [self._of(index) for index in indices]
        tickets = [self._workers.submit(index, PATIENCE_S) for index in indices]
        found: dict[int, np.ndarray] = {}
        while len(found) < len(tickets):
            replies = self._workers.poll(PATIENCE_S)
            found |= {ticket.number: reply.value if reply.ok else REFUSED for ticket, reply in replies}
        return [found[ticket.number] for ticket in tickets]

    def _of(self, index: int) -> np.ndarray:
        try:
            found = screened(self._task, self._task.config_space.get(index), Progress())
        except Error:
            return REFUSED
        if found.failures(self._task.target):
            return REFUSED
        return np.array(list(found.main.features().values()))
