"""Feature vectors of configurations, straight from candidate numbers: no schedule is built while scoring."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .fragments import SplitFragment
from .space import ConfigSpace


class FeatureTable:
    """Turns candidate numbers of one space into rows of equal length.

    Columns, in order: each knob's own (`Fragment.features`), log2 of the products of two knobs' innermost factors (the
    extents of a register tile), and the columns that the template declared.
    """

    def __init__(self, space: ConfigSpace) -> None:
        self.space = space
        self.parts = [f.features for f in space.fragments.values()]
        splits = [(place, f) for place, f in enumerate(space.fragments.values()) if type(f) is SplitFragment]
        self.pairs = list(combinations(splits, 2))
        self._innermost = {place: np.log2(f.sizes[:, -1]).astype(np.float32) for place, f in splits}

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of the columns."""
        own = [name for f in self.space.fragments.values() for name in f.feature_names]
        pairs = [f"{a.name}*{b.name}" for (_, a), (_, b) in self.pairs]
        return (*own, *pairs, *(d.name for d in self.space.derived))

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        """Give the features of each row of candidate numbers: (configurations, columns) float32."""
        own = [part[matrix[:, place]] for place, part in enumerate(self.parts)]
        innermost = {place: logs[matrix[:, place]] for place, logs in self._innermost.items()}
        pairs = [innermost[a][:, None] + innermost[b][:, None] for (a, _), (b, _) in self.pairs]
        return np.hstack([*own, *pairs, self.space.derived_columns(matrix)])
