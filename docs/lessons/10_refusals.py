"""Lesson 10: how the compiler says no.

A refusal answers four questions: which step, what fact (with its numbers), where in the program, what to do instead.
All of them are `tilewright.Error`, and a refused step leaves the schedule as it was.
"""

import numpy as np

import tilewright
from tilewright import te

n = 64
A = te.placeholder((n, n), name="A")
k = te.reduce_axis((0, n), name="k")
RowSum = te.compute((n,), lambda i: te.sum(A[i, k], axis=k), name="RowSum")
Twice = te.compute((n,), lambda j: RowSum[j] * 2.0, name="Twice")


def refused(title, attempt):
    """Show what an attempt is told."""
    try:
        attempt()
    except tilewright.Error as refusal:
        print(f"{title}\n{'-' * len(title)}\n{refusal}\n")
        return
    raise AssertionError(f"{title}: this should have been refused")


# Iterations of a reduction update the same element: run at the same time, they would lose updates.

s = tilewright.create_schedule(Twice.op)
refused("A race", lambda: s[RowSum].parallel(k))

# An axis that was split is no loop any more; the message names the step that took it, and what it made.

outer, inner = s[Twice].split(Twice.op.axis[0], factor=16)
refused("An axis that is gone", lambda: s[Twice].vectorize(Twice.op.axis[0]))

# The loop in which a stage is computed may not be taken away from under it.

s[RowSum].compute_at(s[Twice], outer)
refused("A loop that others are attached to", lambda: s[Twice].split(outer, factor=2))

# An attachment that misses a reader is found when the loops are derived.  The message gives the line of the step.

Both = te.compute((n,), lambda m: RowSum[m] + Twice[m], name="Both")
s = tilewright.create_schedule(Both.op)
s[RowSum].compute_at(s[Twice], Twice.op.axis[0])
refused("A reader outside", lambda: tilewright.lower(s, [A, Both]))

# Reads are proved to be in bounds before anything is scheduled.

Shifted = te.compute((n,), lambda i: A[i + 1, 0], name="Shifted")
refused("An index out of bounds", lambda: tilewright.create_schedule(Shifted.op))

# `==` between expressions compares Python objects; `.equal` compares the values that the kernel will see.

refused(
    "A condition that is a Python value",
    lambda: te.compute((n,), lambda i: te.if_then_else(i == 0, 1.0, 2.0), name="First"),
)

# Arguments are checked before anything is written.

s = tilewright.create_schedule(RowSum.op)
kernel = tilewright.build(s, [A, RowSum], name="row_sum")
a, result = np.ones((n, n), "float32"), np.empty(n, "float32")
refused("A wrong shape", lambda: kernel(a[:10], result))
refused("A wrong type", lambda: kernel(a.astype("float64"), result))
refused("An output that overlaps an input", lambda: kernel(a, a[0]))

# None of it has done harm.

kernel(a, result)
np.testing.assert_array_equal(result, n)
print("After nine refusals the kernel gives", result[0])
