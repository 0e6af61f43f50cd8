"""Lesson 8: functions of one element: elementary functions, rounding, selection, types, and calls of C."""

import math

import numpy as np

import tilewright
from tilewright import te

n = 4096
rng = np.random.default_rng(0)
X = te.placeholder((n,), name="X")
x = rng.uniform(-4, 4, n).astype("float32")


def run(name, element, dtype="float32"):
    """Compute `element` of each value in vectors of 16, and give the result."""
    Y = te.compute((n,), lambda i: element(X[i]), name="Y")
    s = tilewright.create_schedule(Y.op)
    _, inner = s[Y].split(Y.op.axis[0], factor=16)
    s[Y].vectorize(inner)
    print(f"{name}:\n{s}")
    y = np.empty(n, dtype)
    tilewright.build(s, [X, Y], name="function")(x, y)
    return y


# Elementary functions are vector code, with known bounds of their errors: a few units in the last place.

ulp = np.finfo("float32").eps
np.testing.assert_allclose(run("exp", te.exp), np.exp(x.astype("float64")), rtol=4 * ulp)
np.testing.assert_allclose(run("tanh", te.tanh), np.tanh(x.astype("float64")), rtol=4 * ulp)
np.testing.assert_allclose(run("sigmoid", te.sigmoid), 1 / (1 + np.exp(-x.astype("float64"))), rtol=4 * ulp)

# Functions are composed of others as in any expression: the "gelu" of neural networks, with its error function.

exact = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.astype("float64")]
gelu = run("gelu", lambda v: 0.5 * v * (1.0 + te.erf(v * math.sqrt(0.5))))
np.testing.assert_allclose(gelu, exact, rtol=0, atol=8 * ulp)

# Selection.  Python's `if` would ask for the value of an expression now; `te.select` asks when the kernel runs.

leaky = run("leaky relu", lambda v: te.select(v > 0, v, v * np.float32(0.125)))
np.testing.assert_array_equal(leaky, np.where(x > 0, x, x * np.float32(0.125)))

# Integers: `//` and `%` round towards minus infinity as in Python, te.truncdiv and te.truncmod towards zero as in C.

whole = te.floor(X[0]).astype("int32")  # any element stands for all: this only shows the type
print(f"te.floor(X[0]).astype('int32') is of type {whole.dtype}")
floors = run("floor division", lambda v: te.floor(v * 10.0).astype("int32") // 7, "int32")
np.testing.assert_array_equal(floors, np.floor(x * np.float32(10)).astype("int32") // 7)
towards_zero = run("division of C", lambda v: te.truncdiv(te.floor(v * 10.0).astype("int32"), 7), "int32")
np.testing.assert_array_equal(towards_zero, np.trunc(np.floor(x * np.float32(10)).astype("int32") / 7))

# Types.  float16 and bfloat16 are stored in 16 bits and computed with in 32; each store rounds to nearest.

halves = run("float16", lambda v: (v * 3.0).astype("float16"), "float16")
np.testing.assert_array_equal(halves, (x * np.float32(3)).astype("float16"))

# A function of the C library, by its name.  It is called once for each element, so the loop stays scalar.

Y = te.compute((n,), lambda i: te.call_extern("float32", "cbrtf", X[i]), name="Y")
s = tilewright.create_schedule(Y.op)
print(f"cbrtf of the C library:\n{s}")
y = np.empty(n, "float32")
tilewright.build(s, [X, Y], name="cube_root")(x, y)
np.testing.assert_allclose(y, np.cbrt(x.astype("float64")), rtol=4 * ulp)
print("All within their bounds.")
