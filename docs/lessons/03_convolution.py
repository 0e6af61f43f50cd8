"""Lesson 3: a convolution, and where its stages are computed.

Padding and convolution are two stages.  A schedule decides whether the padded image exists at all, and if so how much
of it at a time.
"""

import numpy as np

import tilewright
from tilewright import te

# What to compute
# ---------------
# An image of 16 channels, 28 rows and columns; 32 filters of 3 by 3; one row and column of zeros all around.
# `te.if_then_else` evaluates only the branch that is chosen, so that it may guard a read beyond the edge.  (`te.select`
# may evaluate both.)  The compiler proves that every read is within its tensor, with the condition in hand.

channels, size, filters, pad = 16, 28, 32, 1

Image = te.placeholder((channels, size, size), name="Image")
Weight = te.placeholder((filters, channels, 3, 3), name="Weight")


def padded_element(c, y, x):
    inside = te.all(y >= pad, y < size + pad, x >= pad, x < size + pad)
    return te.if_then_else(inside, Image[c, y - pad, x - pad], 0.0)


Padded = te.compute((channels, size + 2 * pad, size + 2 * pad), padded_element, name="Padded")
c = te.reduce_axis((0, channels), name="c")
r = te.reduce_axis((0, 3), name="r")
q = te.reduce_axis((0, 3), name="q")
Conv = te.compute(
    (filters, size, size),
    lambda f, y, x: te.sum(Padded[c, y + r, x + q] * Weight[f, c, r, q], axis=[c, r, q]),
    name="Conv",
)

rng = np.random.default_rng(0)
image = rng.standard_normal((channels, size, size), dtype="float32")
weight = rng.standard_normal((filters, channels, 3, 3), dtype="float32")
windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, ((0, 0), (pad, pad), (pad, pad))), (3, 3), (1, 2))
exact = np.einsum("cyxrq,fcrq->fyx", windows.astype("float64"), weight)
terms = channels * 3 * 3


def check(title, schedule):
    """Show the loops; build, run, and compare with NumPy."""
    print(f"\n{title}:\n{schedule}")
    conv = tilewright.build(schedule, [Image, Weight, Conv], name="conv")
    result = np.empty((filters, size, size), "float32")
    conv(image, weight, result)
    np.testing.assert_allclose(result, exact, rtol=0, atol=terms * np.finfo("float32").eps * 4)


# A whole padded image first
# --------------------------

s = tilewright.create_schedule(Conv.op)
check("Two stages, one after the other", s)

# No padded image
# ---------------
# Inlined, a stage is computed anew wherever it is read and never stored.  The condition is now inside the inner loop.

s = tilewright.create_schedule(Conv.op)
s[Padded].compute_inline()
check("Padding inlined", s)

# As much as is needed, when it is needed
# ---------------------------------------
# Within the loop over rows of the result, three padded rows are needed: the bounds follow from what is read.

s = tilewright.create_schedule(Conv.op)
f, y, x = Conv.op.axis
f_o, f_i = s[Conv].split(f, factor=8)
s[Conv].reorder(y, f_o, c, r, q, f_i, x)
s[Padded].compute_at(s[Conv], y)
s[Conv].vectorize(x)
s[Conv].unroll(f_i)
check("Three padded rows at a time", s)

# The operators of neural networks are such expressions already: te.operators has conv2d in several layouts.

from tilewright.te import operators

Data = te.placeholder((1, channels, size, size), name="Data")
Named = operators.conv2d_nchw(Data, Weight, stride=1, padding=1, dilation=1)
s = tilewright.default_schedule(Named, tilewright.Target.parse("llvm -vector-width=512"))
result = np.empty((1, filters, size, size), "float32")
tilewright.build(s, [Data, Weight, Named], name="named")(image[np.newaxis], weight, result)
np.testing.assert_allclose(result[0], exact, rtol=0, atol=terms * np.finfo("float32").eps * 4)
print("\nAll four give NumPy's result.")
