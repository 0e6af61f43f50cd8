"""Each operator against a reference in NumPy, in float64."""

import math
import re

import numpy as np
import pytest

import tilewright.te as te
from tilewright.ir.errors import Error, ExpressionError, TypeMismatch
from tilewright.te import operators as op
from tilewright.te.evaluate import evaluate
from tilewright.te.tolerance import tolerance

rng = np.random.default_rng(11)


def given(*shape, dtype="float32"):
    """Give a placeholder and an array for it."""
    if np.dtype(dtype).kind == "f":
        array = rng.standard_normal(shape).astype(dtype)
    else:
        array = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return te.placeholder(shape, dtype), array


def check(result, feeds, want):
    """Compare with the float64 reference, within the operator's own bound times the scale of the terms."""
    got = evaluate(result, dict(feeds))[0]
    assert got.shape == want.shape
    if not result.dtype.is_float:
        np.testing.assert_array_equal(got, want)
        return
    scale = np.abs(want[np.isfinite(want)]).max(initial=1.0)  # random signs: no sum cancels far below the largest
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(result) * scale)


def convolved(x, w, stride, padding, dilation, groups=1):
    """Give the NCHW convolution of x (N, C, H, W) and w (O, C / groups, KH, KW) in float64."""
    (sh, sw), (top, left, bottom, right), (dh, dw) = stride, padding, dilation
    x = np.pad(x.astype("float64"), ((0, 0), (0, 0), (top, bottom), (left, right)))
    filters, per_group, kh, kw = w.shape
    oh, ow = (x.shape[2] - (kh - 1) * dh - 1) // sh + 1, (x.shape[3] - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((x.shape[0], filters, oh, ow))
    for f in range(filters):
        first = f // (filters // groups) * per_group
        for y in range(kh):
            for z in range(kw):
                part = x[:, first : first + per_group, y * dh : y * dh + oh * sh : sh, z * dw : z * dw + ow * sw : sw]
                out[:, f] += np.tensordot(part[:, :, :oh, :ow], w[f, :, y, z].astype("float64"), (1, 0))
    return out


CONVOLUTIONS = [  # batch, channels, height, width, filters, kernel, stride, padding, dilation, groups
    (1, 4, 7, 9, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 3, 8, 5, 5, (1, 1), (2, 1), (0, 0, 0, 0), (1, 1), 1),
    (1, 4, 11, 10, 4, (3, 2), (2, 3), (2, 0, 1, 1), (2, 1), 2),
    (2, 6, 6, 6, 9, (5, 5), (1, 2), (2, 2, 2, 2), (1, 1), 3),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_conv2d(case, layout):
    n, c, h, w, f, kernel, stride, padding, dilation, groups = case
    (d, x), (k, y) = given(n, c, h, w), given(f, c // groups, *kernel)
    want = convolved(x, y, stride, padding, dilation, groups)
    if layout == "NHWC":
        (d, x), (k, y) = (
            (te.placeholder((n, h, w, c)), x.transpose(0, 2, 3, 1)),
            (
                te.placeholder((*kernel, c // groups, f)),
                y.transpose(2, 3, 1, 0),
            ),
        )
        want = want.transpose(0, 2, 3, 1)
    check(op.conv2d(d, k, stride, padding, dilation, layout, groups=groups), {d: x, k: y}, want)


@pytest.mark.parametrize(("groups", "stride", "padding"), [(1, 1, 1), (2, 2, 0), (1, 2, (1, 0, 2, 1))])
def test_conv2d_of_blocks(groups, stride, padding):
    (d, x), (k, y) = given(2, 8, 7, 6), given(12, 8 // groups, 3, 3)
    result = op.unpack_nchw(
        op.conv2d(op.pack_nchw(d, 4), op.pack_oihw(k, 4, 3), stride, padding, 1, "NCHW4c", groups=groups)
    )
    edges = (padding,) * 4 if isinstance(padding, int) else padding
    check(result, {d: x, k: y}, convolved(x, y, (stride, stride), edges, (1, 1), groups))


def test_conv2d_of_bytes_is_exact_in_int32():
    (d, x), (k, y) = given(1, 5, 6, 6, dtype="uint8"), given(3, 5, 3, 3, dtype="int8")
    want = convolved(x, y, (1, 1), (1, 1, 1, 1), (1, 1)).astype("int32")
    check(op.conv2d_nchw(d, k, 1, 1, out_dtype="int32"), {d: x, k: y}, want)


def transposed(x, w, stride, padding, output_padding, groups):
    """Give the transposed NCHW convolution of x (N, C, H, W) and w (C, O / groups, KH, KW): windows are added up."""
    (sh, sw), (top, left, bottom, right), (mh, mw) = stride, padding, output_padding
    (batch, channels, high, wide), (_, filters, kh, kw) = x.shape, w.shape
    out = np.zeros((batch, filters * groups, (high - 1) * sh + kh + mh, (wide - 1) * sw + kw + mw))
    for c in range(channels):
        first = c // (channels // groups) * filters
        for row in range(high):
            for column in range(wide):
                part = out[:, first : first + filters, row * sh : row * sh + kh, column * sw : column * sw + kw]
                part += x[:, c, row, column, None, None, None].astype("float64") * w[None, c]
    return out[:, :, top : out.shape[2] - bottom, left : out.shape[3] - right]


TRANSPOSED = [  # batch, channels, height, width, filters, kernel, stride, padding, output padding, groups
    (1, 4, 5, 6, 6, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    (2, 4, 5, 3, 6, (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), 2),
    (1, 3, 4, 5, 5, (5, 2), (3, 2), (2, 0, 1, 0), (2, 1), 1),
    (1, 3, 4, 5, 6, (2, 1), (3, 2), (0, 0, 0, 0), (1, 0), 3),
    (1, 2, 6, 5, 3, (3, 5), (1, 1), (1, 4, 0, 3), (0, 0), 1),
]


@pytest.mark.parametrize("case", TRANSPOSED)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_conv2d_transpose(case, layout):
    n, c, h, w, f, kernel, stride, padding, more, groups = case
    (d, x), (k, y) = given(n, c, h, w), given(c, f // groups, *kernel)
    want = transposed(x, y, stride, padding, more, groups)
    if layout == "NHWC":
        x, y, want = x.transpose(0, 2, 3, 1), y.transpose(2, 3, 1, 0), want.transpose(0, 2, 3, 1)
        d, k = te.placeholder(x.shape), te.placeholder(y.shape)
    check(op.conv2d_transpose(d, k, stride, padding, more, layout, groups=groups), {d: x, k: y}, want)


@pytest.mark.parametrize(("multiplier", "stride", "dilation"), [(1, 1, 1), (2, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_depthwise_conv2d(multiplier, stride, dilation, layout):
    (d, x), (k, y) = given(1, 5, 9, 8), given(5, multiplier, 3, 3)
    flat = y.reshape(5 * multiplier, 1, 3, 3)
    want = convolved(x, flat, (stride, stride), (1, 1, 1, 1), (dilation, dilation), groups=5)
    if layout == "nhwc":
        x, y, want = x.transpose(0, 2, 3, 1), y.transpose(2, 3, 0, 1), want.transpose(0, 2, 3, 1)
        d, k = te.placeholder(x.shape), te.placeholder(y.shape)
    form = {"nchw": op.depthwise_conv2d_nchw, "nhwc": op.depthwise_conv2d_nhwc}[layout]
    check(form(d, k, stride, 1, dilation), {d: x, k: y}, want)


def test_depthwise_conv2d_of_blocks():
    (d, x), (k, y) = given(1, 2, 7, 7, 4), given(2, 1, 3, 3, 1, 4)
    plain = x.transpose(0, 1, 4, 2, 3).reshape(1, 8, 7, 7), y.transpose(0, 5, 1, 2, 3, 4).reshape(8, 1, 3, 3)
    want = convolved(*plain, (2, 2), (1, 1, 1, 1), (1, 1), groups=8).reshape(1, 2, 4, 4, 4).transpose(0, 1, 3, 4, 2)
    check(op.depthwise_conv2d_NCHWc(d, k, 2, 1), {d: x, k: y}, want)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matmul(transpose_a, transpose_b):
    (a, x), (b, y), (c, z) = (
        given(*((13, 7) if transpose_a else (7, 13))),
        given(*((5, 13) if transpose_b else (13, 5))),
        given(5),
    )
    product = (x.T if transpose_a else x).astype("float64") @ (y.T if transpose_b else y)
    feeds = {a: x, b: y, c: z}
    check(op.matmul(a, b, None, None, transpose_a, transpose_b), feeds, product)
    result = op.matmul(a, b, c, None, transpose_a, transpose_b, activation=op.relu)
    check(result, feeds, np.maximum(product + z, 0))


def test_dense_and_batch_matmul():
    (a, x), (b, y), (c, z) = given(3, 17), given(5, 17), given(5)
    check(op.dense(a, b, c), {a: x, b: y, c: z}, x.astype("float64") @ y.T + z)
    (a, x), (b, y) = given(3, 4, 9), given(3, 5, 9)
    want = np.einsum("bik,bjk->bij", x, y, dtype="float64")
    check(op.batch_matmul(a, b), {a: x, b: y}, want)
    (b, y) = given(1, 9, 5)
    check(op.batch_matmul(a, b, transpose_b=False), {a: x, b: y}, np.einsum("bik,kj->bij", x, y[0], dtype="float64"))


def pooled(x, kernel, stride, padding, reduce):
    (top, left, bottom, right), (kh, kw), (sh, sw) = padding, kernel, stride
    x = np.pad(x.astype("float64"), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=np.nan)
    oh, ow = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    out = np.empty((*x.shape[:2], oh, ow))
    for i, j in np.ndindex(oh, ow):
        out[:, :, i, j] = reduce(x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw])
    return out


POOLS = [
    ((3, 3), (2, 2), (1, 1, 1, 1), False),
    ((2, 3), (1, 2), (0, 1, 1, 0), False),
    ((3, 3), (2, 2), (0, 0, 0, 0), True),
]


@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("kind", ["max", "avg", "avg_inside"])
def test_pool2d(case, kind):
    kernel, stride, padding, ceil_mode = case
    d, x = given(2, 3, 8, 10)
    top, left, bottom, right = padding
    reach = (top, left, bottom + (stride[0] - 1) * ceil_mode, right + (stride[1] - 1) * ceil_mode)
    reducers = {
        "max": lambda w: np.nanmax(w, (2, 3)),
        "avg": lambda w: np.nansum(w, (2, 3)) / math.prod(kernel),
        "avg_inside": lambda w: np.nanmean(w, (2, 3)),
    }
    result = op.pool2d(d, kernel, stride, 1, padding, kind[:3], ceil_mode, "NCHW", kind == "avg")
    check(result, {d: x}, pooled(x, kernel, stride, reach, reducers[kind]))


def test_pool2d_in_other_layouts():
    d, x = given(1, 8, 8, 3)
    want = pooled(x.transpose(0, 3, 1, 2), (2, 2), (2, 2), (0,) * 4, lambda w: w.max((2, 3))).transpose(0, 2, 3, 1)
    check(op.pool2d(d, 2, 2, layout="NHWC"), {d: x}, want)
    d, x = given(1, 2, 8, 8, 4)
    check(op.global_pool(d, layout="NCHW4c"), {d: x}, x.mean((2, 3), dtype="float64", keepdims=True))
    check(op.global_pool(d, "max", "NCHW4c"), {d: x}, x.max((2, 3), keepdims=True))


@pytest.mark.parametrize(("shape", "axis"), [((3, 11), -1), ((4, 5, 3), 1), ((7,), 0)])
def test_softmax(shape, axis):
    d, x = given(*shape)
    powers = np.exp(x.astype("float64"))
    want = powers / powers.sum(axis, keepdims=True)
    check(op.softmax(d, axis), {d: x}, want)
    check(op.log_softmax(d, axis), {d: x}, np.log(want))


@pytest.mark.parametrize(("shape", "axis"), [((3, 64), -1), ((4, 5, 6), (1, 2)), ((5, 7), 0)])
def test_layer_norm(shape, axis):
    axes = (axis,) if isinstance(axis, int) else axis
    own = [shape[a] for a in axes]
    (d, x), (g, s), (b, o) = given(*shape), given(*own), given(*own)
    wide = x.astype("float64")
    normal = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    spread = [n if i in [a % len(shape) for a in axes] else 1 for i, n in enumerate(shape)]
    check(op.layer_norm(d, g, b, axis), {d: x, g: s, b: o}, normal * s.reshape(spread) + o.reshape(spread))
    check(op.layer_norm(d, None, None, axis), {d: x}, normal)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "argmax", "argmin"])
@pytest.mark.parametrize("axis", [None, 1, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axis, keepdims):
    d, x = given(3, 5, 7)
    if name.startswith("arg") and isinstance(axis, tuple):
        want = getattr(np, name)(x.transpose(1, 0, 2).reshape(5, 21), 1)
        want = want.reshape(1, 5, 1) if keepdims else want
    else:
        wide = x if name.startswith("arg") else x.astype("float64")
        want = np.asarray(getattr(np, name)(wide, axis, keepdims=keepdims))
    check(getattr(op, name)(d, axis, keepdims), {d: x}, want)


def test_argmax_takes_the_first_of_equals_and_of_infinities():
    d = te.placeholder((2, 4))
    x = np.array([[1, 3, 3, 0], [-np.inf] * 4], "float32")
    check(op.argmax(d, 1), {d: x}, np.array([1, 0]))


erf = np.vectorize(math.erf)
UNARY = {
    "relu": lambda x: np.maximum(x, 0), "exp": np.exp, "tanh": np.tanh, "erf": erf, "sin": np.sin, "cos": np.cos,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))), "abs": np.abs,
    "relu6": lambda x: np.clip(x, 0, 6), "silu": lambda x: x / (1 + np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "negative": np.negative, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "round": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_elementwise(name):
    d, x = given(3, 17)
    check(getattr(op, name)(d), {d: x}, UNARY[name](x.astype("float64")))


@pytest.mark.parametrize("name", ["log", "sqrt", "rsqrt"])
def test_elementwise_of_positive_numbers(name):
    d, x = given(3, 17)
    x = np.abs(x) + np.float32(0.1)
    check(
        getattr(op, name)(d),
        {d: x},
        (lambda v: 1 / np.sqrt(v) if name == "rsqrt" else getattr(np, name)(v))(x.astype("float64")),
    )


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 1, 5), (4, 1)), ((2, 3), ()), ((1,), (6, 2))])
@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "greater_equal"]
)
def test_broadcast(shapes, name):
    (a, x), (b, y) = given(*shapes[0]), given(*shapes[1])
    check(getattr(op, name)(a, b), {a: x, b: y}, getattr(np, name)(x.astype("float64"), y.astype("float64")))


def test_integer_and_selecting_operators():
    (a, x), (b, y) = given(20, dtype="int32"), given(20, dtype="int8")
    y = np.where(y == 0, 3, y).astype("int8")
    wide = x.astype("int64"), y.astype("int64")
    feeds = {a: x, b: y}
    check(op.floor_divide(a, b), feeds, wide[0] // wide[1])
    check(op.floor_mod(a, b), feeds, wide[0] % wide[1])
    check(op.divide(a, b), feeds, np.trunc(wide[0] / wide[1]).astype("int64"))
    check(op.where(op.greater(a, 0), a, b), feeds, np.where(x > 0, x, y))
    check(op.logical_not(op.not_equal(a, b)), feeds, x == y)
    check(op.power(op.cast(b, "float32"), 2.0), feeds, wide[1].astype("float64") ** 2)


def test_moving_elements():
    d, x = given(2, 3, 4)
    feeds = {d: x}
    check(op.transpose(d), feeds, x.transpose())
    check(op.transpose(d, (1, -1, 0)), feeds, x.transpose(1, 2, 0))
    check(op.reshape(d, (4, -1)), feeds, x.reshape(4, 6))
    check(op.flatten(d), feeds, x.reshape(2, 12))
    check(op.expand_dims(d, -1, 2), feeds, x[..., None, None])
    check(op.squeeze(op.expand_dims(d, 1)), feeds, x)
    check(op.broadcast_to(op.expand_dims(d, 0), (5, 2, 3, 4)), feeds, np.broadcast_to(x, (5, 2, 3, 4)))
    check(op.strided_slice(d, (0, 2), (2, 0), (1, -1)), feeds, x[0:2, 2:0:-1])
    check(op.pad(d, (0, 1, 2), (1, 0, 0), 0.5), feeds, np.pad(x, ((0, 1), (1, 0), (2, 0)), constant_values=0.5))
    check(op.clip(d, -0.5, 0.25), feeds, np.clip(x, np.float32(-0.5), np.float32(0.25)))
    check(op.cast(d, "int32"), feeds, x.astype("int32"))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate(axis):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for shape, extra in zip(shapes, (0, 2, 1), strict=True):
        shape[axis] += extra
    tensors, arrays = zip(*[given(*shape) for shape in shapes], strict=True)
    check(op.concatenate(tensors, axis), dict(zip(tensors, arrays, strict=True)), np.concatenate(arrays, axis))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_take(axis):
    (d, x), (i, _) = given(5, 6), given(2, 3, dtype="int32")
    at = rng.integers(0, 5, (2, 3)).astype("int32")
    check(op.take(d, i, axis), {d: x, i: at}, x.take(at, axis))
    beyond = np.array([[-4, 99, 0], [1, 2, 3]], "int32")
    check(op.take(d, i, axis), {d: x, i: beyond}, x.take(beyond, axis, mode="clip"))


def test_symbolic_sizes_pass_through_operators():
    n = te.var("n")
    d, w = te.placeholder((n, 8)), te.placeholder((5, 8))
    x, y = rng.standard_normal((7, 8)).astype("float32"), rng.standard_normal((5, 8)).astype("float32")
    product = np.maximum(x.astype("float64") @ y.T, 0)
    check(op.reshape(op.dense(d, w, activation=op.relu), (-1,)), {d: x, w: y}, product.reshape(-1))


@pytest.mark.parametrize("make", [op.dot4_u8s8_i32, op.dot4_s8s8_i32, op.dot2_s16s16_i32])
def test_dot_product_intrinsics_declare_what_they_compute(make):
    intrin = make(6)
    left, right = intrin.op.inputs
    x = rng.integers(0, 127, left.shape).astype(str(left.dtype))
    y = rng.integers(-128, 128, right.shape).astype(str(right.dtype))
    got = evaluate(intrin.op.output(0), {left: x, right: y})[0]
    np.testing.assert_array_equal(got, y.astype("int32") @ x.astype("int32"))
    assert make(6) is intrin and "dot" in str(intrin.update)


def test_dot_products_of_each_lane_declare_what_they_compute():
    x = rng.integers(0, 256, (6, 4)).astype("uint8")
    y = rng.integers(-128, 128, (6, 4)).astype("int8")
    intrin = op.dot4_by_lane_u8s8_i32(6)
    got = evaluate(intrin.op.output(0), dict(zip(intrin.op.inputs, (x, y), strict=True)))[0]
    np.testing.assert_array_equal(got, (x.astype("int32") * y).sum(axis=1))
    intrin = op.dot4_sliding_u8s8_i32(6, 3)
    row = rng.integers(0, 256, 19).astype("uint8")
    got = evaluate(intrin.op.output(0), dict(zip(intrin.op.inputs, (row, y[0]), strict=True)))[0]
    np.testing.assert_array_equal(got, [row[3 * k : 3 * k + 4].astype("int32") @ y[0] for k in range(6)])


def test_flops():
    d, w = te.placeholder((1, 8, 14, 14)), te.placeholder((16, 8, 3, 3))
    assert op.flops(op.conv2d_nchw(d, w, 1, 1)) == 2 * 16 * 14 * 14 * 8 * 9
    a = te.placeholder((5, 7))
    assert op.flops(op.relu(a)) == 35
    assert op.flops(op.transpose(a)) == 0
    n = te.var("n")
    assert op.flops(op.sum(te.placeholder((n, 3))), {n: 10}) == 30
    with pytest.raises(ExpressionError, match="the extent n is unknown"):
        op.flops(op.sum(te.placeholder((n, 3))))


def test_tolerance():
    """A sum of K terms errs by the lesser of K and 8 sqrt(K) roundings, a product by one more; twice that."""
    a, b = te.placeholder((4, 9)), te.placeholder((4, 900))
    assert tolerance(op.sum(a, 1)) == 2 * 9 * 2**-24
    assert tolerance(op.sum(b, 1)) == 2 * 8 * 30 * 2**-24
    assert tolerance(op.multiply(a, a)) == 2 * 2 * 2**-24
    assert tolerance(op.sum(op.multiply(a, a), 1)) == 2 * (2 + 9) * 2**-24
    assert tolerance(op.sum(te.placeholder((4, 9), "float16"), 1)) == 2 * 9 * 2**-11
    assert tolerance(op.sum(te.placeholder((4, 9), "int32"), 1)) == 0
    n = te.var("n")
    assert tolerance(op.sum(te.placeholder((4, n)), 1), {n: 9}) == 2 * 9 * 2**-24
    with pytest.raises(ExpressionError, match="the extent n is unknown"):
        tolerance(op.sum(te.placeholder((4, n)), 1))


def test_an_accepted_error_is_the_tolerance_and_adds_up():
    total = op.conv2d(X4, K4, relative_error=2e-4)
    assert tolerance(total) == 2e-4
    assert tolerance(op.multiply(total, total)) == pytest.approx(2e-4 + 2 * 2 * 2**-24, rel=1e-12)
    assert tolerance(op.conv2d(X4, K4)) < 1e-5


def test_tags_and_geometry_for_templates():
    result = op.conv2d_nchw(te.placeholder((1, 8, 14, 14)), te.placeholder((16, 8, 3, 3)), 2, (1, 2))
    assert result.op.tag == "conv2d_nchw"
    assert dict(result.op.attrs)["stride"] == (2, 2) and dict(result.op.attrs)["padding"] == (1, 2, 1, 2)


X4, K4 = te.placeholder((1, 4, 6, 6)), te.placeholder((8, 4, 3, 3))
T4, X2 = te.placeholder((4, 2, 3, 3)), te.placeholder((4, 6))
REFUSALS = {
    "unknown layout 'CHWN'": (TypeMismatch, lambda: op.conv2d(X4, K4, layout="CHWN")),
    "data has 4 dimensions and kernel 2": (TypeMismatch, lambda: op.conv2d_nchw(X4, X2)),
    "4 of data, 8 of kernel": (TypeMismatch, lambda: op.conv2d_nchw(X4, K4, groups=2)),
    "3 groups of 8 output channels": (TypeMismatch, lambda: op.conv2d_nchw(X4, K4, groups=3)),
    "unknown layout 'NCHW8c'": (TypeMismatch, lambda: op.conv2d_transpose(X4, X4, layout="NCHW8c")),
    "input channels: 4 of data, 8 of kernel": (TypeMismatch, lambda: op.conv2d_transpose(X4, K4)),
    "3 groups of 4 input channels": (TypeMismatch, lambda: op.conv2d_transpose(X4, T4, groups=3)),
    "output_padding is (2, 2), stride (2, 2)": (ExpressionError, lambda: op.conv2d_transpose(X4, T4, 2, 0, 2)),
    "leaves nothing of": (ExpressionError, lambda: op.conv2d_transpose(X4, T4, 1, 6)),
    "a relative error of nan": (ExpressionError, lambda: op.conv2d(X4, K4, relative_error=math.nan)),
    "a relative error of 0": (ExpressionError, lambda: op.conv2d(X4, K4, relative_error=0)),
    "a relative error of 1.5": (ExpressionError, lambda: op.conv2d(X4, K4, relative_error=1.5)),
    "whose direct evaluation may be off by 4.4e-06": (
        ExpressionError,
        lambda: op.conv2d(X4, K4, relative_error=1e-6),
    ),
    "for results of int32, which are exact": (
        ExpressionError,
        lambda: op.conv2d(X4, K4, out_dtype="int32", relative_error=1e-4),
    ),
    "4 channels of data, 8 of kernel": (TypeMismatch, lambda: op.depthwise_conv2d_nchw(X4, K4)),
    "it spans 11 of 6 elements": (ExpressionError, lambda: op.conv2d_nchw(X4, K4, dilation=5)),
    "stride is 0": (ExpressionError, lambda: op.conv2d_nchw(X4, K4, 0)),
    "padding is (1, 2, 3)": (ExpressionError, lambda: op.conv2d_nchw(X4, K4, 1, (1, 2, 3))),
    "K is 6 for the first operand, 4": (TypeMismatch, lambda: op.matmul(X2, X2)),
    "operands have 4 and 2 dimensions": (TypeMismatch, lambda: op.dense(X4, X2)),
    "unknown kind 'median'": (ExpressionError, lambda: op.pool2d(X4, 2, 2, pool_type="median")),
    "axis 2 of 2 dimensions": (ExpressionError, lambda: op.sum(X2, 2)),
    "axes [0, -2] of 2 dimensions": (ExpressionError, lambda: op.sum(X2, (0, -2))),
    "24 elements of placeholder": (TypeMismatch, lambda: op.reshape(X2, (5, 5))),
    "2 sizes are -1": (ExpressionError, lambda: op.reshape(X2, (-1, -1))),
    "axes [0, 0] of 2 dimensions": (ExpressionError, lambda: op.transpose(X2, (0, 0))),
    "dimension 0 has 4 elements": (ExpressionError, lambda: op.squeeze(X2, 0)),
    "no tensors": (ExpressionError, lambda: op.concatenate([])),
    "equal shapes outside": (TypeMismatch, lambda: op.concatenate([X2, X4])),
    "indices are float32": (TypeMismatch, lambda: op.take(X2, X2, 0)),
    "1 numbers before and 1 after for 2": (ExpressionError, lambda: op.pad(X2, (1,))),
    "blocks of 3 of 4 channels": (ExpressionError, lambda: op.pack_nchw(X4, 3)),
    "extent 4 does not become 5": (TypeMismatch, lambda: op.broadcast_to(X2, (5, 6))),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(sentence):
    kind, attempt = REFUSALS[sentence]
    with pytest.raises(Error, match=re.escape(sentence)) as caught:
        attempt()
    assert type(caught.value) is kind and caught.value.advice
