"""Lesson 11: schedules are data, and may be kept, read, and replayed elsewhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import tilewright
from tilewright import te

# A program that several processes agree on
# -----------------------------------------
# A schedule names stages and axes, never objects, so that it fits whatever builds the same expression.

n = 96


def program():
    """Give the tensors of a product of matrices with a bias."""
    a = te.placeholder((n, n), name="A")
    b = te.placeholder((n, n), name="B")
    bias = te.placeholder((n,), name="bias")
    k = te.reduce_axis((0, n), name="k")
    c = te.compute((n, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    return [a, b, bias, te.compute((n, n), lambda i, j: c[i, j] + bias[j], name="D")]


def replay(text):
    """Give the schedule that `text` means for a program built here and now."""
    tensors = program()
    return tilewright.Schedule.from_json(text, tensors[-1:]), tensors


if sys.argv[1:] == ["replay"]:  # the other process: it reads the steps and shows the loops that they mean
    print(replay(sys.stdin.read())[0])
    sys.exit()

# Writing
# -------

tensors = program()
D = tensors[-1]
s = tilewright.create_schedule(D.op)
C = D.op.inputs[0]
i_o, j_o, i_i, j_i = s[D].tile(*D.op.axis, 8, 32)
s[C].compute_at(s[D], j_o)
s[C].reorder(C.op.reduce_axis[0], *C.op.axis)
s[C].vectorize(C.op.axis[1])
s[C].unroll(C.op.axis[0])
s[D].vectorize(j_i)
s[D].parallel(i_o)

text = s.to_json()
print("The steps:", text.replace("],[", "],\n  ["), "\nThe loops:", s, sep="\n")

# Reading
# -------
# In this process, for tensors that are declared anew; and in another one, which knows nothing but the text.

again, its_tensors = replay(text)
assert str(again) == str(s)
command = [sys.executable, str(Path(__file__).resolve()), "replay"]
elsewhere = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
assert elsewhere.rstrip("\n") == str(s)
print("\nAnother process derives the same loops.")

rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, n, n), dtype="float32")
bias, result = rng.standard_normal(n, dtype="float32"), np.empty((n, n), "float32")
tilewright.build(again, its_tensors, name="dense")(a, b, bias, result)
np.testing.assert_allclose(result, a.astype("float64") @ b + bias, rtol=0, atol=n * np.finfo("float32").eps * 4)
print("The replayed schedule gives NumPy's result.")

# Text that means nothing is refused like a step is.

try:
    tilewright.Schedule.from_json(text.replace("i_o", "i_x"), program()[-1:])
except tilewright.Error as refusal:
    print("\nRefused:", refusal, sep="\n")
