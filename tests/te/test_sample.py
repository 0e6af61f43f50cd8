"""Parts of results: their values are those of the whole, and they need what they read."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.autotune.reference import make_arrays
from tilewright.autotune.task import create
from tilewright.codegen.interp import interpret
from tilewright.te.evaluate import evaluate
from tilewright.te.grid import Kept
from tilewright.te.operation import PlaceholderOp
from tilewright.te.sample import needed, whole_box, work

CASES = [
    ("matmul", (33, 27, 19)),
    ("dense", (10, 12, 14, "bfloat16")),
    ("batch_matmul", (4, 12, 13, 14)),
    ("conv2d", ((2, 5, 13, 11), (7, 3, 3), 2, 1)),
    ("conv2d", ((1, 16, 13, 11), (32, 3, 3), 1, 1, 1, 1, "NCHW16c")),
    ("conv2d", ((1, 6, 9, 9), (6, 3, 3), 1, 1, 2, 3, "NHWC", "float32", True, "bias,relu")),
    ("conv2d_transpose", ((1, 8, 7, 7), (6, 4, 4), 2, 1)),
    ("depthwise_conv2d", ((1, 12, 20, 20), (3, 3), 1, 1)),
    ("qconv2d", ((1, 16, 12, 12), (16, 3, 3), 1, 1)),
    ("softmax", (30, 40)),
    ("layer_norm", (30, 40)),
    ("reduction", (30, 40, 0)),
    ("reduction", (30, 40, 1, "argmax")),
    ("elementwise", (30, 40)),
]


@pytest.mark.parametrize(("name", "args"), CASES)
def test_elements_of_a_part_are_those_of_the_whole(name: str, args: tuple[object, ...]) -> None:
    task = create(name, args)
    arrays = zip(task.tensors, make_arrays(task.tensors), strict=True)
    feeds = {tensor: array for tensor, array in arrays if type(tensor.op) is PlaceholderOp}
    outputs, op = list(task.outputs), task.outputs[0].op
    mode = "float64" if any(out.dtype.is_float for out in outputs) else "declared"
    whole = evaluate(outputs, feeds, accumulate=mode, interpret=interpret)
    rng = np.random.default_rng(0)
    for dim, extent in enumerate(whole[0].shape):
        if extent < 4:
            continue
        at = np.unique(rng.integers(0, extent, extent // 3))
        box = tuple(Kept(n, at if d == dim else None) for d, n in enumerate(whole[0].shape))
        boxes = needed(outputs, {op: box})
        parts = evaluate(outputs, feeds, accumulate=mode, interpret=interpret, boxes=boxes)
        for part, right in zip(parts, whole, strict=True):
            np.testing.assert_allclose(part, np.take(right, at, dim), rtol=2.0**-23)  # sums in float64, rounded


def test_a_part_of_a_convolution_takes_the_rows_that_its_windows_cover() -> None:
    task = create("conv2d", ((1, 4, 20, 20), (8, 3, 3), 1, 1))
    (out,) = task.outputs
    box = tuple(Kept(kept.extent, np.array([0, 9]) if d == 2 else None) for d, kept in enumerate(whole_box(out.op)))
    boxes = needed([out], {out.op: box})
    taken = {op.name: [None if kept.at is None else kept.at.tolist() for kept in b] for op, b in boxes.items()}
    assert taken["data"] == [None, None, [0, 1, 8, 9, 10], None]  # row -1 is padding
    assert "kernel" not in taken  # all of it
    whole, part = work([out], {}), work([out], boxes)
    assert (whole.products, part.products) == (20 * 20 * 8 * 36, 2 * 20 * 8 * 36)
