"""Winograd's transforms exactly, and the chain of operators made of them."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from tilewright import te
from tilewright.ir.errors import ExpressionError
from tilewright.te.evaluate import evaluate
from tilewright.te.operators.cook_toom import Matrix, Transforms, product, transforms
from tilewright.te.operators.winograd import Sizes, winograd_result, winograd_stages

FORMS = [transforms(m, 3) for m in (2, 4, 6)] + [
    transforms(4, 3, [0, 1, -1, 2, -2]),
    transforms(3, 2, [0, Fraction(1, 3), 5]),
    transforms(2, 5, [0, 1, -1, 2, Fraction(-1, 2)]),
]
IDS = [f"F({t.outputs}, {t.taps})" for t in FORMS]


def times(a: Matrix, b: Matrix) -> Matrix:
    columns = turned(b)
    return tuple(tuple(sum((x * y for x, y in zip(r, c, strict=True)), Fraction(0)) for c in columns) for r in a)


def turned(a: Matrix) -> Matrix:
    return tuple(zip(*a, strict=True))


def random_matrix(rows: int, columns: int, seed: int) -> Matrix:
    draw = random.Random(seed)
    numbers = [Fraction(draw.randint(-99, 99), draw.randint(1, 9)) for _ in range(rows * columns)]
    return tuple(tuple(numbers[k : k + columns]) for k in range(0, len(numbers), columns))


@pytest.mark.parametrize("forms", FORMS, ids=IDS)
def test_it_is_a_convolution_exactly(forms: Transforms) -> None:
    g, d = random_matrix(forms.taps, forms.taps, 1), random_matrix(forms.tile, forms.tile, 2)
    left = times(times(forms.weights, g), turned(forms.weights))
    right = times(times(forms.data, d), turned(forms.data))
    both = tuple(tuple(x * y for x, y in zip(*rows, strict=True)) for rows in zip(left, right, strict=True))
    taps = range(forms.taps)
    direct = tuple(
        tuple(sum(d[y + i][x + j] * g[i][j] for i in taps for j in taps) for x in range(forms.outputs))
        for y in range(forms.outputs)
    )
    assert times(times(forms.result, both), turned(forms.result)) == direct


@pytest.mark.parametrize("forms", FORMS, ids=IDS)
@pytest.mark.parametrize("which", ["data", "weights", "result"])
def test_straight_line_code_is_the_product(forms: Transforms, which: str) -> None:
    matrix: Matrix = getattr(forms, which)
    vector = [row[0] for row in random_matrix(len(matrix[0]), 1, 3)]
    assert product(matrix, vector, lambda c: c) == [row[0] for row in times(matrix, tuple((x,) for x in vector))]


class Counted:
    """A number that counts the operations on numbers like it; a product and the sum it goes into are one."""

    count = 0

    def __init__(self, is_product: bool = False) -> None:
        self.is_product = is_product

    def __add__(self, other: Counted) -> Counted:
        Counted.count += 1 - (self.is_product or other.is_product)
        return Counted()

    def __sub__(self, other: Counted) -> Counted:
        Counted.count += 1
        return Counted()

    def __mul__(self, other: Fraction) -> Counted:
        Counted.count += 1
        return Counted(is_product=True)


@pytest.mark.parametrize(
    ("outputs", "which", "most"),
    [(2, "data", 4), (2, "result", 4), (4, "data", 12), (4, "result", 12), (6, "data", 26)],
)
def test_sums_are_shared(outputs: int, which: str, most: int) -> None:
    """As few operations as hand-written transforms have."""
    matrix: Matrix = getattr(transforms(outputs, 3), which)
    Counted.count = 0
    product(matrix, [Counted() for _ in matrix[0]], lambda c: c)
    assert most * 3 // 4 <= Counted.count <= most


def test_default_points_give_small_errors() -> None:
    usual = transforms(4, 3, [0, 1, -1, 2, -2])
    assert transforms(2, 3).error_growth < 1
    assert 3 * transforms(4, 3).error_growth < usual.error_growth < transforms(6, 3).error_growth


@pytest.mark.parametrize("points", [[0, 1, -1], [0, 1, 1, 2, -2], [0, 1, -1, 2, -2, 3]])
def test_points_that_are_too_few_equal_or_too_many_are_refused(points: list[int]) -> None:
    with pytest.raises(ExpressionError, match=r"F\(4, 3\) needs 5 different points"):
        transforms(4, 3, points)


def chain(sizes: Sizes, outputs: int) -> tuple[list[te.Tensor], te.Tensor]:
    """Give image and weights (NCHW), and the result."""
    channels, filters = sizes.channels
    image = te.placeholder((sizes.batch, channels, *sizes.extents), name="image")
    kernel = te.placeholder((filters, channels, 3, 3), name="kernel")
    forms = transforms(outputs, 3)
    stages = winograd_stages(lambda n, c, y, x: image[n, c, y, x], lambda o, i, y, x: kernel[o, i, y, x], sizes, forms)
    element = winograd_result(stages, sizes, forms)
    shape = (sizes.batch, filters, sizes.height, sizes.width)
    return [image, kernel], te.compute(shape, lambda n, c, y, x: element(n, c, y, x), name="result")


CHAINS = {  # batch, height, width, padding, image, channels, lanes, panel, block of tiles
    "whole tiles": Sizes(1, 8, 12, (1, 1), (8, 12), (8, 8), 4, 8, (1, 1, 6)),
    "cut tiles, channels, panels and blocks": Sizes(1, 13, 7, (1, 1), (13, 7), (5, 11), 4, 8, (1, 2, 3)),
    "parts of rows": Sizes(1, 5, 25, (1, 1), (5, 25), (4, 4), 4, 4, (1, 1, 3)),
    "images in one block": Sizes(4, 5, 6, (0, 0), (7, 8), (4, 4), 4, 4, (2, 2, 3)),
    "padding to one side": Sizes(2, 6, 6, (2, 0), (6, 8), (4, 4), 4, 4, (1, 1, 2)),
}


def direct(image: np.ndarray, kernel: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Give the convolution in float64."""
    top, left = sizes.padding
    wide = np.zeros((sizes.batch, sizes.channels[0], sizes.height + 2, sizes.width + 2))
    part = image[:, :, : sizes.height + 2 - top, : sizes.width + 2 - left]
    wide[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part
    out = np.zeros((sizes.batch, sizes.channels[1], sizes.height, sizes.width))
    for y in range(3):
        for x in range(3):
            part = wide[:, :, y : y + sizes.height, x : x + sizes.width]
            out += np.einsum("nchw,fc->nfhw", part, kernel[:, :, y, x].astype(np.float64))
    return out


@pytest.mark.parametrize("outputs", [2, 4, 6])
@pytest.mark.parametrize("sizes", CHAINS.values(), ids=CHAINS)
def test_the_chain_is_a_convolution(sizes: Sizes, outputs: int) -> None:
    (image, kernel), result = chain(sizes, outputs)
    rng = np.random.default_rng(5)
    arrays = [rng.uniform(-1, 1, [int(d) for d in t.shape]).astype(np.float32) for t in (image, kernel)]
    (got,) = evaluate([result], dict(zip((image, kernel), arrays, strict=True)))
    expected = direct(*arrays, sizes)
    allowed = transforms(outputs, 3).relative_error(sizes.channels[0])
    scale = np.sqrt(np.mean(expected**2))
    assert np.max(np.abs(got - expected)) <= allowed * max(scale, np.abs(expected).max())


@pytest.mark.parametrize("outputs", [2, 4, 6])
def test_the_stated_error_is_an_error_bound_and_no_wild_guess(outputs: int) -> None:
    """Of 20,000 results with 64 channels, the worst one is between a fifth of it and all of it."""
    forms, rng, channels = transforms(outputs, 3), np.random.default_rng(7), 64
    d = rng.standard_normal((20_000 // outputs**2, channels, forms.tile, forms.tile)).astype(np.float32)
    g = rng.standard_normal((channels, 3, 3)).astype(np.float32)
    data, weights, result = (np.array(m, dtype=np.float32) for m in (forms.data, forms.weights, forms.result))
    left, right = weights @ g @ weights.T, data @ d @ data.T
    total = np.zeros_like(right[:, 0])
    for c in range(channels):  # summed up one after the other, as kernels do
        total += left[c] * right[:, c]
    got = result @ total @ result.T
    windows = np.lib.stride_tricks.sliding_window_view(d.astype(np.float64), (3, 3), (2, 3))
    expected = np.einsum("ncyxij,cij->nyx", windows, g.astype(np.float64))
    scale = np.maximum(np.abs(expected), np.sqrt(np.mean(expected**2)))
    worst = np.max(np.abs(got - expected) / scale)
    assert forms.relative_error(channels) / 5 < worst < forms.relative_error(channels)
