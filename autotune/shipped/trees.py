"""Boosted regression trees, evaluated by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Trees:
    """Complete binary trees of one depth; the value of a row is the sum of the leaves that it reaches.

    features    (trees, 2**depth - 1) column that a node asks about, the children of node i being 2 i + 1 and 2 i + 2
    thresholds  (trees, 2**depth - 1) a row with less than this goes to the first child
    leaves      (trees, 2**depth)
    """

    features: np.ndarray
    thresholds: np.ndarray
    leaves: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Give the value of each of `rows` (rows, columns)."""
        trees, nodes = self.features.shape
        features, thresholds = self.features.ravel(), self.thresholds.ravel()
        first = np.arange(trees) * nodes
        row = np.arange(len(rows))[:, None] * rows.shape[1]
        flat = rows.ravel()
        place = np.zeros((len(rows), trees), dtype=np.int64)
        for _ in range(self.leaves.shape[1].bit_length() - 1):
            node = first + place
            place = 2 * place + 1 + (flat[row + features[node]] >= thresholds[node])
        return self.leaves.ravel()[np.arange(trees) * (nodes + 1) + place - nodes].sum(axis=1)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trees:
        """Read what `to_json` gave."""
        leaves = np.array(data["leaves"], dtype=np.float64)
        features = np.array(data["features"], dtype=np.int64)
        return cls(features, np.array(data["thresholds"], dtype=np.float32), leaves)

    def to_json(self) -> dict[str, Any]:
        """Give plain data: thresholds that compare as these do, leaves to four digits."""
        return {
            "features": self.features.tolist(),
            "thresholds": [[float(f"{t:.6g}") for t in tree] for tree in self.thresholds.tolist()],
            "leaves": [[round(leaf, 4) for leaf in tree] for tree in self.leaves.tolist()],
        }
