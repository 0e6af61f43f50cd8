"""Lesson 5: recurrences, in which each step needs the one before."""

import numpy as np

import tilewright
from tilewright import te

rng = np.random.default_rng(0)

# Running sums
# ------------
# A scan has three parts: a placeholder for its own result, `state`; the first steps, `init`; and the value at step t,
# `update`, which reads the state at earlier steps.  The first dimension is time.

steps, n = te.size_var("steps", minimum=1), te.size_var("n")  # the first step exists: X[0, i] is in bounds
X = te.placeholder((steps, n), name="X")
state = te.placeholder((steps, n), name="state")
init = te.compute((1, n), lambda _, i: X[0, i], name="init")
update = te.compute((steps, n), lambda t, i: state[t - 1, i] + X[t, i], name="update")
Sums = te.scan(init, update, state, inputs=[X], name="Sums")

# Time is sequential, the other dimensions are free: `update` and `init` are stages with schedules of their own.

s = tilewright.create_schedule(Sums.op)
outer, inner = s[update].split(update.op.axis[1], factor=16)
s[update].vectorize(inner)
print("Running sums:", s, sep="\n")

running_sums = tilewright.build(s, [X, Sums], name="running_sums")
for shape in ((1, 5), (40, 33)):
    x, sums = rng.standard_normal(shape, dtype="float32"), np.empty(shape, "float32")
    running_sums(x, sums)
    np.testing.assert_allclose(sums, np.cumsum(x, axis=0), rtol=0, atol=shape[0] ** 2 * np.finfo("float32").eps)

# Two states, one of which is a product with a matrix
# ---------------------------------------------------
# A position and a velocity, stepped together.  The update may have several stages: the force is a reduction over the
# position one step back, and it is computed at the step that needs it.

length, size = 20, 8
K = te.placeholder((size, size), name="K")
start_p = te.placeholder((1, size), name="start_p")
start_v = te.placeholder((1, size), name="start_v")
position = te.placeholder((length, size), name="position")
velocity = te.placeholder((length, size), name="velocity")
j = te.reduce_axis((0, size), name="j")
force = te.compute((length, size), lambda t, i: te.sum(K[i, j] * position[t - 1, j], axis=j), name="force")
next_p = te.compute((length, size), lambda t, i: position[t - 1, i] + 0.1 * velocity[t - 1, i], name="next_p")
next_v = te.compute((length, size), lambda t, i: velocity[t - 1, i] - 0.1 * force[t, i], name="next_v")
first_p = te.compute((1, size), lambda _, i: start_p[0, i], name="first_p")
first_v = te.compute((1, size), lambda _, i: start_v[0, i], name="first_v")
P, V = te.scan([first_p, first_v], [next_p, next_v], [position, velocity], name="motion")

s = tilewright.create_schedule(P.op)
s[force].compute_at(s[next_v], next_v.op.axis[1])
print("\nMotion:", s, sep="\n")

motion = tilewright.build(s, [K, start_p, start_v, P, V], name="motion")
stiffness = rng.standard_normal((size, size), dtype="float32") / size
p0, v0 = rng.standard_normal((2, 1, size), dtype="float32")
p, v = np.empty((2, length, size), "float32")
motion(stiffness, p0, v0, p, v)

expected_p, expected_v = p0[0].astype("float64"), v0[0].astype("float64")
for t in range(1, length):
    expected_p, expected_v = expected_p + 0.1 * expected_v, expected_v - 0.1 * (stiffness @ expected_p)
    np.testing.assert_allclose(p[t], expected_p, rtol=0, atol=t * size * np.finfo("float32").eps * 8)
    np.testing.assert_allclose(v[t], expected_v, rtol=0, atol=t * size * np.finfo("float32").eps * 8)
print("\nBoth recurrences agree with NumPy, step by step.")
