"""Lesson 4: reductions: combining many values into one, in parallel, and several at once."""

import numpy as np

import tilewright
from tilewright import te

rng = np.random.default_rng(0)

# A sum that may not run in parallel
# ----------------------------------
# The steps of a reduction loop all update the same element.  Threads or vector lanes would do so at the same time, and
# the schedule refuses.  (Lesson 10 shows what refusals look like.)

n = 1 << 16
A = te.placeholder((n,), name="A")
k = te.reduce_axis((0, n), name="k")
Total = te.compute((1,), lambda i: te.sum(A[k], axis=k), name="Total")
s = tilewright.create_schedule(Total.op)
print("One sum:", s, sep="\n")

# rfactor
# -------
# `rfactor` makes a part of the reduction a dimension of a partial result.  Here k is cut in three: 8 parts for threads,
# and 16 lanes.  Sums of floats are then taken in another order, and are rounded differently: the only steps that may
# change a value say so.

k_o, k_i = s[Total].split(k, factor=16)
Lanes = s.rfactor(Total, k_i)
lane = s[Lanes].op.axis[0]
s[Lanes].reorder(*s[Lanes].op.axis[1:], s[Lanes].op.reduce_axis[0], lane)
s[Lanes].vectorize(lane)
print("\nSixteen partial sums in lanes, added up at the end:", s, sep="\n")

total = tilewright.build(s, [A, Total], name="total")
a, result = rng.standard_normal(n, dtype="float32"), np.empty(1, "float32")
total(a, result)
# Each of n additions rounds by at most half an ulp of the running sum; sums of numbers of either sign stay below n.
np.testing.assert_allclose(result, a.sum(dtype="float64"), rtol=0, atol=np.finfo("float32").eps * n)

s = tilewright.create_schedule(Total.op)
part, rest = s[Total].split(k, nparts=8)
Parts = s.rfactor(Total, part)
s[Parts].parallel(s[Parts].op.axis[0])
print("\nEight partial sums on threads:", s, sep="\n")
tilewright.build(s, [A, Total], name="total_of_parts")(a, result)
np.testing.assert_allclose(result, a.sum(dtype="float64"), rtol=0, atol=np.finfo("float32").eps * n)

# Other reducers
# --------------
# `te.comm_reducer` takes the combination and the value that changes nothing.

product = te.comm_reducer(lambda x, y: x * y, lambda dtype: te.const(1, dtype), name="product")
rows, columns = 8, 20
M = te.placeholder((rows, columns), name="M")
k = te.reduce_axis((0, columns), name="k")
Products = te.compute((rows,), lambda i: product(M[i, k], axis=k), name="Products")
s = tilewright.create_schedule(Products.op)
m, result = rng.standard_normal((rows, columns), dtype="float32"), np.empty(rows, "float32")
tilewright.build(s, [M, Products], name="products")(m, result)
np.testing.assert_allclose(result, m.prod(1, dtype="float64"), rtol=columns * np.finfo("float32").eps)

# The greatest value and where it is
# ----------------------------------
# A reducer may combine several values at once: here an index with the value found there.  Its functions then take and
# give tuples, and the compute gives several tensors.  Of equal values, this one takes the first.


def first_greatest(found, seen):
    take_new = te.any(seen[1] > found[1], te.all(seen[1].equal(found[1]), seen[0] < found[0]))
    return te.select(take_new, seen[0], found[0]), te.select(take_new, seen[1], found[1])


def nothing_found(index_dtype, value_dtype):
    return te.max_value(index_dtype), te.min_value(value_dtype)


argmax = te.comm_reducer(first_greatest, nothing_found, name="argmax")
k = te.reduce_axis((0, columns), name="k")
Where, Greatest = te.compute((rows,), lambda i: argmax((k, M[i, k]), axis=k), name="Argmax")
s = tilewright.create_schedule(Where.op)
s[Where].parallel(s[Where].op.axis[0])
print("\nArgmax:", s, sep="\n")

where, greatest = np.empty(rows, "int32"), np.empty(rows, "float32")
tilewright.build(s, [M, Where, Greatest], name="argmax")(m, where, greatest)
np.testing.assert_array_equal(where, m.argmax(1))
np.testing.assert_array_equal(greatest, m.max(1))

# rfactor takes tuple reducers as well, and gives the partial results as a list.

s = tilewright.create_schedule(Where.op)
k_o, k_i = s[Where].split(k, factor=5)
partial_where, partial_greatest = s.rfactor(Where, k_o)
s[partial_where].parallel(s[partial_where].op.axis[0])
print("\nArgmax of four parts:", s, sep="\n")
tilewright.build(s, [M, Where, Greatest], name="argmax_of_parts")(m, where, greatest)
np.testing.assert_array_equal(where, m.argmax(1))
print("\nAll results are NumPy's.")
