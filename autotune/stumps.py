"""Gradient-boosted stumps in NumPy: the cost model where xgboost is not installed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 32  # histogram bins per feature
SHRINKAGE = 1.0  # added to the number of rows on each side of a cut


@dataclass(frozen=True)
class Stumps:
    """A sum of one-cut functions of single features, held as one table per feature.

    edges   cuts between neighbouring bins, ascending: (features, BINS - 1)
    values  contribution of each bin: (features, BINS)
    base    the mean of the targets
    """

    edges: np.ndarray
    values: np.ndarray
    base: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Give one value per row of `features` (rows, features)."""
        total = np.full(len(features), self.base)
        for column, (edges, values) in enumerate(zip(self.edges, self.values, strict=True)):
            total += values[np.searchsorted(edges, features[:, column], side="left")]
        return total


def fit_stumps(features: np.ndarray, targets: np.ndarray, rounds: int = 150, rate: float = 0.2) -> Stumps:
    """Fit squared error by boosting.

    features  (rows, columns)
    targets   (rows,)
    Source: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29(5), 2001.
    """
    quantiles = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.quantile(features, quantiles, axis=0, method="lower").T
    columns = features.shape[1]
    bins = np.column_stack([np.searchsorted(edges[c], features[:, c], side="left") for c in range(columns)])
    flat = (bins + np.arange(columns) * BINS).ravel()
    counts = np.bincount(flat, minlength=columns * BINS).reshape(columns, BINS).cumsum(axis=1)[:, :-1]
    left, right = counts, len(targets) - counts
    values = np.zeros((columns, BINS))
    base = float(targets.mean())
    residual = targets - base
    for _ in range(rounds):
        weights = np.repeat(residual, columns)
        sums = np.bincount(flat, weights, minlength=columns * BINS).reshape(columns, BINS).cumsum(axis=1)
        below, above = sums[:, :-1], sums[:, -1:] - sums[:, :-1]
        gain = below**2 / (left + SHRINKAGE) + above**2 / (right + SHRINKAGE)
        column, cut = np.unravel_index(np.argmax(gain), gain.shape)
        low = rate * below[column, cut] / (left[column, cut] + SHRINKAGE)
        high = rate * above[column, cut] / (right[column, cut] + SHRINKAGE)
        values[column, : cut + 1] += low
        values[column, cut + 1 :] += high
        residual -= np.where(bins[:, column] <= cut, low, high)
    return Stumps(edges, values, base)
