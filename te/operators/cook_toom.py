"""Matrices of Winograd's short convolutions, exact, and straight-line code for products with them.

F(m, r) gives m outputs of a filter of r taps from m + r - 1 inputs d by as many multiplications:
y = A^T [(G g) * (B^T d)].  In two dimensions it is nested: Y = A^T [(G g G^T) * (B^T d B)] A.
Source: Winograd, Arithmetic Complexity of Computations, SIAM 1980; Blahut, Fast Algorithms for Signal Processing,
section 5; Lavin, Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

from ...ir.errors import ExpressionError

ROUNDOFF = 2.0**-24  # of float32
Matrix = tuple[tuple[Fraction, ...], ...]


def _pairs(*points: str) -> tuple[Fraction, ...]:
    return (Fraction(0), *(sign * Fraction(p) for p in points for sign in (1, -1)))


POINTS = {4: _pairs("1"), 6: _pairs("5/8", "3/2"), 8: _pairs("1", "2", "1/2")}
"""Where polynomials are evaluated, by the size of the tile: in pairs, whose sums are shared; so that errors grow little
(with 1 and 2 four times as much as with 5/8 and 3/2); and of few bits, so that coefficients are exact."""


@dataclass(frozen=True, slots=True)
class Transforms:
    """The matrices of F(outputs, taps).

    data     B^T (tile, tile)
    weights  G (tile, taps)
    result   A^T (outputs, tile)
    """

    outputs: int
    taps: int
    data: Matrix
    weights: Matrix
    result: Matrix

    @property
    def tile(self) -> int:
        """Give the inputs, and the multiplications, of one application."""
        return self.outputs + self.taps - 1

    @property
    def error_growth(self) -> float:
        """Give how many times as large as in a direct convolution rounding errors of sums are, in two dimensions.

        For data and weights without correlation, output k of the one-dimensional form adds up sums over channels i
        whose standard deviations are |A_ki| |G_i| |B_i|, where a direct one adds up `taps` times as many terms of
        standard deviation 1: a random walk, whose error grows with the number of terms.  The root of the sum of
        squares, the largest one over k, to the power of two dimensions.
        """
        products = [_norm2(g) * _norm2(b) for g, b in zip(self.weights, self.data, strict=True)]
        worst = max(sum(float(a) ** 2 * p for a, p in zip(row, products, strict=True)) for row in self.result)
        return worst / self.taps**2

    def relative_error(self, channels: int) -> float:
        """Give how far a float32 result may be from the exact one, relative to the scale of results.

        Eight standard deviations: one result in 10^15 is further off.  Each step of a sum of K = taps^2 channels terms
        rounds by a third of u^2 on average, relative to a sum that grows as a random walk: u sqrt(K / 6) in the end,
        times `error_growth`.  About eight roundings of each transformed element, which are independent from channel
        to channel, add taps^2 * 8 / 3 to K / 6.
        """
        terms = self.taps**2
        return 8 * ROUNDOFF * self.error_growth * math.sqrt(terms * channels / 6 + terms * 8 / 3)


def transforms(outputs: int, taps: int, points: Sequence[Fraction | int] | None = None) -> Transforms:
    """Give the matrices of F(outputs, taps) from outputs + taps - 2 points, and infinity.

    points  by default those of `POINTS` for the tile
    Raises ExpressionError for another number of points, or equal ones.
    """
    count = outputs + taps - 2
    finite = tuple(map(Fraction, POINTS.get(count + 1, ()) if points is None else points))
    return _transforms(outputs, taps, finite)


@cache
def _transforms(outputs: int, taps: int, finite: tuple[Fraction, ...]) -> Transforms:
    count = outputs + taps - 2
    if len(set(finite)) != count or len(finite) != count:
        fact = f"F({outputs}, {taps}) needs {count} different points, got ({', '.join(map(str, finite))})"
        raise ExpressionError("winograd", fact, advice="as many different points, infinity apart")
    scales = [math.prod((p - q for q in finite if q != p), start=Fraction(1)) for p in finite]
    whole = _polynomial(finite)
    data = [(*_without_root(whole, p), Fraction(0)) for p in finite] + [whole]
    weights = [tuple(p**k / scale for k in range(taps)) for p, scale in zip(finite, scales, strict=True)]
    result = [(*(p**k for p in finite), Fraction(k == outputs - 1)) for k in range(outputs)]
    last = tuple(Fraction(k == taps - 1) for k in range(taps))
    return Transforms(outputs, taps, tuple(data), (*weights, last), tuple(result))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Give the coefficients of the product of x - root, lowest first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c if c else s for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return tuple(coefficients)


def _without_root(polynomial: Sequence[Fraction], root: Fraction) -> tuple[Fraction, ...]:
    """Give the coefficients of a polynomial, lowest first, divided by x - root, where `root` is one of its roots."""
    quotient = [polynomial[-1]]
    for c in polynomial[-2:0:-1]:
        quotient.append(c + root * quotient[-1] if root else c)
    return tuple(reversed(quotient))


def _norm2(row: Sequence[Fraction]) -> float:
    return sum(float(x) ** 2 for x in row)


def product(matrix: Matrix, vector: Sequence[Any], constant: Callable[[Fraction], Any]) -> list[Any]:
    """Give `matrix` times `vector`, with sub-expressions shared and no multiplication by 0, 1 or -1.

    Columns that differ in signs only are added up and subtracted first; rows that differ in signs only share the sums
    of what is equal and of what is opposite.
    constant  turns a coefficient into what elements of the vector can be multiplied by
    """
    plan, values = _shared(matrix), list(vector)
    for i, j in plan.columns:
        values[i], values[j] = values[i] + values[j], values[i] - values[j]
    rows: list[Any] = [None] * len(matrix)
    for i, j, *halves in plan.rows:
        even, odd = (_factored(half, values, constant) for half in halves)
        rows[i], rows[j] = _butterfly(even, odd, constant)
    return [_sum(c, values, constant) if row is None else row for c, row in zip(plan.matrix, rows, strict=True)]


class _Shared(NamedTuple):
    """What a product with a matrix computes once.

    columns  pairs of elements in whose place their sum and their difference stand
    matrix   what these are multiplied by
    rows     pairs of rows, with what they have in common and what they have with opposite signs
    """

    columns: tuple[tuple[int, int], ...]
    matrix: Matrix
    rows: tuple[tuple[int, int, Sequence[Fraction], Sequence[Fraction]], ...]


@cache
def _shared(matrix: Matrix) -> _Shared:
    """Give what is shared in products with a matrix."""
    pairs, columns = _paired_columns(matrix)
    rows: list[tuple[int, int, Sequence[Fraction], Sequence[Fraction]]] = []
    taken: set[int] = set()
    for i, j in combinations(range(len(columns)), 2):
        halves = None if taken & {i, j} else _halves(columns[i], columns[j])
        if halves is not None:
            taken |= {i, j}
            rows.append((i, j, *halves))
    return _Shared(tuple(pairs), tuple(map(tuple, columns)), tuple(rows))


def _paired_columns(matrix: Matrix) -> tuple[list[tuple[int, int]], list[list[Fraction]]]:
    """Give the pairs of columns that differ in signs only, and the matrix of sums and differences of elements."""
    rows = [list(row) for row in matrix]
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for i, j in combinations(range(len(matrix[0])), 2):
        signs = {row[i] == row[j] for row in matrix if row[i] or row[j]}
        if taken & {i, j} or len(signs) < 2 or any(abs(row[i]) != abs(row[j]) for row in matrix):
            continue
        taken |= {i, j}
        for row in rows:
            row[i], row[j] = (row[i] + row[j]) / 2, (row[i] - row[j]) / 2
        pairs.append((i, j))
    return pairs, rows


def _halves(a: Sequence[Fraction], b: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]] | None:
    """Give what two rows have in common and what they have with opposite signs; None where they are not like that."""
    if any(abs(x) != abs(y) for x, y in zip(a, b, strict=True)):
        return None
    even = [x if x == y else Fraction(0) for x, y in zip(a, b, strict=True)]
    odd = [Fraction(0) if x == y else x for x, y in zip(a, b, strict=True)]
    return (even, odd) if any(even) and any(odd) else None


def _factored(
    row: Sequence[Fraction], values: Sequence[Any], constant: Callable[[Fraction], Any]
) -> tuple[Any, Fraction]:
    """Give a sum and the number that it still is to be multiplied by."""
    factor = Fraction(1)
    if all(abs(c) != 1 for c in row):
        factor = min((c for c in row if c), key=abs)
    return _sum([c / factor for c in row], values, constant), factor


def _butterfly(
    even: tuple[Any, Fraction], odd: tuple[Any, Fraction], constant: Callable[[Fraction], Any]
) -> tuple[Any, Any]:
    """Give even + odd and even - odd, each a number of times a sum."""
    (e, scale), (o, factor) = even, odd
    e = e if scale == 1 else e * constant(scale)
    if factor == 1:
        return e + o, e - o
    return e + o * constant(factor), e + o * constant(-factor)


def _sum(row: Sequence[Fraction], values: Sequence[Any], constant: Callable[[Fraction], Any]) -> Any:
    """Give a sum of multiples, those by 1 and -1 first, so that each of the others is one multiply-add."""
    terms = sorted(((c, v) for c, v in zip(row, values, strict=True) if c), key=lambda t: (abs(t[0]) != 1, t[0] < 0))
    (first, total), *rest = terms
    total = total if first == 1 else total * constant(first)
    for c, value in rest:
        total = total + value if c == 1 else total - value if c == -1 else total + value * constant(c)
    return total
