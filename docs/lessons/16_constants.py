"""Lesson 16: weights that stay the same: what is made of them is made once, ahead of the calls."""

import numpy as np

import tilewright
from tilewright import te
from tilewright.runtime.prepared import bind_prepared
from tilewright.schedule import parameter_names

# A layer whose weights are packed
# --------------------------------
# Vector lanes run along the outputs, so the weights are wanted in panels: 16 outputs side by side for each input.

tokens, inputs, outputs = 32, 64, 48
X = te.placeholder((tokens, inputs), name="X")
W = te.placeholder((outputs, inputs), name="W")
k = te.reduce_axis((0, inputs), name="k")
Y = te.compute((tokens, outputs), lambda i, j: te.sum(X[i, k] * W[j, k], axis=k), name="Y")

s = tilewright.create_schedule(Y.op)
packed = s.cache_read(W, "global", [Y])
s[packed].transform_layout(lambda j, k: [j // 16, k, j % 16])
sums = s.cache_write(Y, "local")
rows, row = s[Y].split(Y.op.axis[0], factor=4)
columns, lane = s[Y].split(Y.op.axis[1], factor=16)
s[Y].reorder(rows, columns, row, lane)
s[Y].unroll(row)
s[Y].vectorize(lane)
s[sums].compute_at(s[Y], columns)
s[sums].reorder(*s[sums].op.reduce_axis, *s[sums].op.axis)
s[sums].unroll(s[sums].op.axis[0])
s[sums].vectorize(s[sums].op.axis[1])

# One function packs in every call.  `precompute` says that the packed weights may be made ahead of the calls, and
# `lower_prepared` gives two functions: one that makes them, and one that is called often.

s[packed].precompute()
prepare, layer = tilewright.lower_prepared(s, [X, W, Y], name="layer")
print("Once:", prepare, "In every call:", layer, sep="\n")

module = tilewright.build([prepare, layer])
rng = np.random.default_rng(0)
x, w = rng.random((tokens, inputs), dtype="float32"), rng.random((outputs, inputs), dtype="float32")
y, panels = np.empty((tokens, outputs), "float32"), np.empty((3, inputs, 16), "float32")
module["layer_prepare"](w, panels)
module["layer"](x, panels, y)
bound = 2 * inputs * np.finfo("float32").eps
np.testing.assert_allclose(y, x @ w.T, rtol=bound)

# `bind_prepared` does both, with the arrays by their names, and gives a call without arguments.

arrays = dict(zip(parameter_names(s, [X, W, Y]), (x, w, y), strict=True))
call = bind_prepared(module, "layer", arrays)
x[:] = 1
call()
np.testing.assert_allclose(y, np.broadcast_to(w.sum(axis=1), y.shape), rtol=bound)

# The tuner's templates pack in this way where weights are constant, which `autotune conv2d` and `autotune dense` take
# for granted: `--variable-weights` says otherwise.  What every call computes cannot be made ahead of them:

Scaled = te.compute((inputs,), lambda k: X[0, k] * 2, name="scaled")
Shifted = te.compute((inputs,), lambda k: Scaled[k] + 1, name="shifted")
Result = te.compute((inputs,), lambda k: Shifted[k] * 3, name="result")
other = tilewright.create_schedule(Result.op)
try:
    other[Shifted].precompute()
except tilewright.Error as error:
    print("Refused:", error, sep="\n")
