"""Programs in TVM 0.9's spelling, each checked against NumPy; nothing but the imports is this package's.

Sums are of up to 100 float32 products of magnitude 1, which round by less than 100 * 2**-23 in all: 1.2e-5.
"""

from __future__ import annotations

import ctypes
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from tilewright.compat import tvm
from tilewright.compat.tvm import te, topi
from tilewright.ir.errors import ArgumentError

DEV = tvm.cpu(0)


def rand(*shape: int) -> np.ndarray:
    return np.random.uniform(-1, 1, shape).astype("float32")


def test_vector_add():
    n = te.var("n")
    A = te.placeholder((n,), name="A")
    B = te.placeholder(A.shape, name="B")
    C = te.compute(A.shape, lambda i: A[i] + B[i], name="C")
    s = te.create_schedule(C.op)
    outer, inner = s[C].split(C.op.axis[0], factor=64)
    s[C].parallel(outer)
    s[C].vectorize(inner)
    tgt = tvm.target.Target(target="llvm", host="llvm")
    assert "for i_o in parallel" in str(tvm.lower(s, [A, B, C], simple_mode=True))

    fadd = tvm.build(s, [A, B, C], tgt, name="myadd")
    dev = tvm.device(tgt.kind.name, 0)
    n = 1000
    a = tvm.nd.array(np.random.uniform(size=n).astype(A.dtype), dev)
    b = tvm.nd.array(np.random.uniform(size=n).astype(B.dtype), dev)
    c = tvm.nd.array(np.zeros(n, dtype=C.dtype), dev)
    fadd(a, b, c)
    tvm.testing.assert_allclose(c.numpy(), a.numpy() + b.numpy())
    evaluator = fadd.time_evaluator(fadd.entry_name, dev, number=10, repeat=3)
    timing = evaluator(a, b, c)
    assert 0 < timing.min <= timing.median <= timing.max and len(timing.results) == 3
    assert "myadd" in fadd.get_source() and "myadd" in fadd.get_source("asm")


@pytest.mark.parametrize("suffix", [".so", ".tar"])
def test_saved_modules_are_loaded_again(tmp_path: Path, suffix: str):
    A = te.placeholder((10,), name="A")
    B = te.compute((10,), lambda i: A[i] + 1.0, name="B")
    module = tvm.build(te.create_schedule(B.op), [A, B], "llvm", name="add_one")
    path = str(tmp_path / f"add_one{suffix}")
    module.export_library(path) if suffix == ".so" else module.save(path)
    loaded = tvm.runtime.load_module(path)
    a, b = tvm.nd.array(np.arange(10, dtype="float32")), tvm.nd.empty((10,))
    loaded["add_one"](a, b)
    np.testing.assert_array_equal(b.numpy(), np.arange(10) + 1)
    loaded(a, b.copyfrom(np.zeros(10)))
    np.testing.assert_array_equal(b.asnumpy(), np.arange(10) + 1)
    assert loaded.time_evaluator("add_one", DEV, number=2)(a, b).mean > 0


def test_blocked_matrix_product_with_packing_and_write_cache():
    M, N, K, bn = 128, 96, 64, 32
    k = te.reduce_axis((0, K), "k")
    A = te.placeholder((M, K), name="A")
    B = te.placeholder((K, N), name="B")
    packedB = te.compute(
        (N / bn if N % bn else N // bn, K, bn), lambda bigN, k, littleN: B[k, bigN * bn + littleN], "packedB"
    )
    C = te.compute(
        (M, N),
        lambda m, n: te.sum(A[m, k] * packedB[n // bn, k, tvm.tir.indexmod(n, bn)], axis=k),
        name="C",
    )
    s = te.create_schedule(C.op)
    CC = s.cache_write(C, "global")
    mo, no, mi, ni = s[C].tile(C.op.axis[0], C.op.axis[1], bn, bn)
    s[CC].compute_at(s[C], no)
    mc, nc = s[CC].op.axis
    (kaxis,) = s[CC].op.reduce_axis
    ko, ki = s[CC].split(kaxis, factor=4)
    s[CC].reorder(ko, mc, ki, nc)
    s[CC].vectorize(nc)
    s[CC].unroll(ki)
    s[C].parallel(mo)
    bigN, _, littleN = s[packedB].op.axis
    s[packedB].vectorize(littleN)
    s[packedB].parallel(bigN)
    with tvm.transform.PassContext(opt_level=3):
        func = tvm.build(s, [A, B, C], target="llvm -keys=cpu -libs=mkl", name="mmult")
    a, b = tvm.nd.array(rand(M, K), DEV), tvm.nd.array(rand(K, N), DEV)
    c = tvm.nd.array(np.zeros((M, N), dtype="float32"), DEV)
    func(a, b, c)
    tvm.testing.assert_allclose(c.numpy(), np.dot(a.numpy(), b.numpy()), rtol=1e-5, atol=K * 1e-6)


def test_convolution_with_inlined_padding_and_with_compute_at():
    batch, in_channel, out_channel, in_size, kernel, pad, stride = 4, 8, 16, 10, 3, 1, 1
    A = te.placeholder((in_size, in_size, in_channel, batch), name="A")
    W = te.placeholder((kernel, kernel, in_channel, out_channel), name="W")
    out_size = (in_size - kernel + 2 * pad) // stride + 1
    Apad = te.compute(
        (in_size + 2 * pad, in_size + 2 * pad, in_channel, batch),
        lambda yy, xx, cc, nn: tvm.tir.if_then_else(
            tvm.tir.all(yy >= pad, yy - pad < in_size, xx >= pad, xx - pad < in_size),
            A[yy - pad, xx - pad, cc, nn],
            tvm.tir.const(0.0, "float32"),
        ),
        name="Apad",
    )
    rc = te.reduce_axis((0, in_channel), name="rc")
    ry = te.reduce_axis((0, kernel), name="ry")
    rx = te.reduce_axis((0, kernel), name="rx")
    B = te.compute(
        (out_size, out_size, out_channel, batch),
        lambda yy, xx, ff, nn: te.sum(
            Apad[yy * stride + ry, xx * stride + rx, rc, nn] * W[ry, rx, rc, ff], axis=[ry, rx, rc]
        ),
        name="B",
    )
    a, w = rand(in_size, in_size, in_channel, batch), rand(kernel, kernel, in_channel, out_channel)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(a, ((1, 1), (1, 1), (0, 0), (0, 0))), (kernel, kernel), (0, 1)
    )
    expected = np.einsum("yxcnij,ijcf->yxfn", windows.astype("float64"), w)

    inlined = te.create_schedule(B.op)
    inlined[Apad].compute_inline()
    attached = te.create_schedule(B.op)
    yy, xx, ff, nn = attached[B].op.axis
    fo, fi = attached[B].split(ff, factor=4)
    attached[B].reorder(yy, xx, fo, ry, rx, rc, fi, nn)
    attached[B].vectorize(nn)
    attached[Apad].compute_at(attached[B], yy)
    for s in (inlined, attached):
        func = tvm.build(s, [A, W, B], "llvm")
        b = tvm.nd.empty((out_size, out_size, out_channel, batch), "float32", DEV)
        func(tvm.nd.array(a), tvm.nd.array(w), b)
        tvm.testing.assert_allclose(b.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_rfactor():
    n, m = te.var("n"), te.var("m")
    A = te.placeholder((n, m), name="A")
    k = te.reduce_axis((0, m), "k")
    B = te.compute((n,), lambda i: te.sum(A[i, k], axis=k), name="B")
    s = te.create_schedule(B.op)
    ko, ki = s[B].split(B.op.reduce_axis[0], factor=16)
    BF = s.rfactor(B, ki)
    assert s[B].op.reduce_axis[0].dom.extent.value == 16
    s[BF].vectorize(s[BF].op.axis[0])
    s[B].parallel(s[B].op.axis[0])
    s[BF].compute_at(s[B], s[B].op.axis[0])
    func = tvm.build(s, [A, B], "llvm")
    a = tvm.nd.array(rand(5, 100), DEV)
    b = tvm.nd.empty((5,))
    func(a, b)
    tvm.testing.assert_allclose(b.numpy(), np.sum(a.numpy(), axis=1), rtol=1e-5, atol=1e-5)


def test_product_reducer_of_ones_own():
    n, m = te.var("n"), te.var("m")
    product = te.comm_reducer(lambda x, y: x * y, lambda t: tvm.tir.const(1, dtype=t), name="product")
    A = te.placeholder((n, m), name="A")
    k = te.reduce_axis((0, m), name="k")
    B = te.compute((n,), lambda i: product(A[i, k], axis=k), name="B")
    a, b = tvm.nd.array(rand(6, 7)), tvm.nd.empty((6,))
    tvm.build(te.create_schedule(B.op), [A, B], "llvm")(a, b)
    tvm.testing.assert_allclose(b.numpy(), a.numpy().prod(1), rtol=1e-5)


def test_argmax():
    def fcombine(x, y):
        lhs = tvm.tir.Select((x[1] >= y[1]), x[0], y[0])
        rhs = tvm.tir.Select((x[1] >= y[1]), x[1], y[1])
        return lhs, rhs

    def fidentity(t0, t1):
        return tvm.tir.const(-1, t0), tvm.te.min_value(t1)

    argmax = te.comm_reducer(fcombine, fidentity, name="argmax")
    m, n = te.var("m"), te.var("n")
    idx = te.placeholder((m, n), name="idx", dtype="int32")
    val = te.placeholder((m, n), name="val", dtype="float32")
    k = te.reduce_axis((0, n), "k")
    T0, T1 = te.compute((m,), lambda i: argmax((idx[i, k], val[i, k]), axis=k), name="T")
    s = te.create_schedule(T0.op)
    func = tvm.build(s, [idx, val, T0, T1], "llvm")
    positions = np.tile(np.arange(20, dtype="int32"), (9, 1))
    values = rand(9, 20)
    t0, t1 = tvm.nd.empty((9,), "int32"), tvm.nd.empty((9,), "float32")
    func(tvm.nd.array(positions), tvm.nd.array(values), t0, t1)
    np.testing.assert_array_equal(t0.numpy(), values.argmax(1))
    np.testing.assert_array_equal(t1.numpy(), values.max(1))


def test_scan_on_thread_axes():
    m, n = te.var("m"), te.var("n")
    X = te.placeholder((m, n), name="X")
    s_state = te.placeholder((m, n))
    s_init = te.compute((1, n), lambda _, i: X[0, i])
    s_update = te.compute((m, n), lambda t, i: s_state[t - 1, i] + X[t, i])
    s_scan = tvm.te.scan(s_init, s_update, s_state, inputs=[X])
    s = te.create_schedule(s_scan.op)
    block_x, thread_x = te.thread_axis("blockIdx.x"), te.thread_axis("threadIdx.x")
    xo, xi = s[s_init].split(s_init.op.axis[1], factor=16)
    s[s_init].bind(xo, block_x)
    s[s_init].bind(xi, thread_x)
    xo, xi = s[s_update].split(s_update.op.axis[1], factor=16)
    s[s_update].bind(xo, block_x)
    s[s_update].bind(xi, thread_x)
    fscan = tvm.build(s, [X, s_scan], "llvm", name="myscan")
    a_np = rand(12, 50)
    a, b = tvm.nd.array(a_np, DEV), tvm.nd.array(np.zeros((12, 50), dtype=s_scan.dtype.__str__()), DEV)
    fscan(a, b)
    tvm.testing.assert_allclose(b.numpy(), np.cumsum(a_np, axis=0), rtol=1e-5, atol=1e-5)
    with pytest.raises(tvm.TVMError, match="m = 0, and it must be at least 1"):
        fscan(tvm.nd.empty((0, 50)), tvm.nd.empty((0, 50)))


def test_scan_with_several_stages_and_states():
    m, n, length = 6, 10, te.var("l")
    X = te.placeholder((m, n), name="X")
    s_state1 = te.placeholder((m, n))
    s_state2 = te.placeholder((m, length))
    s_init1 = te.compute((1, n), lambda _, i: X[0, i])
    s_init2 = te.compute((1, length), lambda _, i: 0.0)
    s_update1 = te.compute((m, n), lambda t, i: s_state1[t - 1, i] + X[t, i])
    s_update2 = te.compute((m, length), lambda t, i: s_state2[t - 1, i] + s_state1[t - 1, 0])
    s_scan1, s_scan2 = tvm.te.scan([s_init1, s_init2], [s_update1, s_update2], [s_state1, s_state2], inputs=[X])
    s = te.create_schedule(s_scan1.op)
    func = tvm.build(s, [X, s_scan1, s_scan2], "llvm")
    x = rand(m, n)
    one, other = tvm.nd.empty((m, n)), tvm.nd.empty((m, 3))
    func(tvm.nd.array(x), one, other)
    sums = np.cumsum(x, axis=0)
    tvm.testing.assert_allclose(one.numpy(), sums, rtol=1e-5, atol=1e-5)
    heads = np.concatenate([[0], np.cumsum(sums[:-1, 0])])
    tvm.testing.assert_allclose(other.numpy(), np.repeat(heads[:, None], 3, 1), rtol=1e-5, atol=1e-5)


def test_tuple_inputs():
    m, n = te.var("m"), te.var("n")
    A0 = te.placeholder((m, n), name="A0")
    A1 = te.placeholder((m, n), name="A1")
    B0, B1 = te.compute((m, n), lambda i, j: (A0[i, j] + 2, A1[i, j] * 3), name="B")
    C = te.compute((m, n), lambda i, j: B0[i, j] + B1[i, j] * 2, name="C")
    s = te.create_schedule(C.op)
    s[B0].compute_at(s[C], C.op.axis[0])
    func = tvm.build(s, [A0, A1, C], "llvm")
    a0, a1, c = rand(4, 5), rand(4, 5), tvm.nd.empty((4, 5))
    func(tvm.nd.array(a0), tvm.nd.array(a1), c)
    tvm.testing.assert_allclose(c.numpy(), a0 + 2 + a1 * 3 * 2, rtol=1e-5, atol=1e-6)


def intrin_gemv(m: int, l: int):  # noqa: E741
    a = te.placeholder((l,), name="a")
    b = te.placeholder((m, l), name="b")
    k = te.reduce_axis((0, l), name="k")
    c = te.compute((m,), lambda i: te.sum(a[k] * b[i, k], axis=k), name="c")
    Ab = tvm.tir.decl_buffer(a.shape, a.dtype, name="A", offset_factor=1, strides=[1])
    Bb = tvm.tir.decl_buffer(b.shape, b.dtype, name="B", offset_factor=1, strides=[te.var("s1"), 1])
    Cb = tvm.tir.decl_buffer(c.shape, c.dtype, name="C", offset_factor=1, strides=[1])

    def intrin_func(ins, outs):
        aa, bb = ins
        cc = outs[0]

        def _body():
            return tvm.tir.call_extern(
                "int32", "compat_gemv", cc.access_ptr("w"), aa.access_ptr("r"), bb.access_ptr("r"), m, l, bb.strides[0]
            )

        def _reset():
            ib = tvm.tir.ir_builder.create()
            pointer = ib.buffer_ptr(cc)
            with ib.for_range(0, m, name="i") as i:
                pointer[i] = 0.0
            return ib.get()

        def _update():
            ib = tvm.tir.ir_builder.create()
            ib.emit(_body())
            return ib.get()

        ib = tvm.tir.ir_builder.create()
        ib.emit(_reset())
        ib.emit(_body())
        return ib.get(), _reset(), _update()

    return te.decl_tensor_intrin(c.op, intrin_func, binds={a: Ab, b: Bb, c: Cb}, name="gemv")


def gemv_update(cc, aa, bb, m, l, stride):  # noqa: E741
    a = (ctypes.c_float * l).from_address(aa)
    c = (ctypes.c_float * m).from_address(cc)
    for i in range(m):
        row = (ctypes.c_float * l).from_address(bb + 4 * i * stride)
        c[i] += float(np.dot(np.frombuffer(a, "float32"), np.frombuffer(row, "float32")))
    return 0


def test_tensorize_with_an_extern_function_of_strides():
    from tilewright.runtime.externs import register_extern

    register_extern("compat_gemv", gemv_update, ("int32", ("handle", "handle", "handle", "int32", "int32", "int32")))
    N, M, L = 4, 32, 64
    A = te.placeholder((N, L), name="A")
    B = te.placeholder((M, L), name="B")
    k = te.reduce_axis((0, L), name="k")
    C = te.compute((N, M), lambda i, j: te.sum(A[i, k] * B[j, k], axis=k), name="C")
    s = te.create_schedule(C.op)
    factor = 16
    x, y = C.op.axis
    (z,) = C.op.reduce_axis
    yo, yi = s[C].split(y, factor=factor)
    zo, zi = s[C].split(z, factor=factor)
    s[C].reorder(x, yo, zo, yi, zi)
    gemv = intrin_gemv(factor, factor)
    s[C].tensorize(yi, gemv)
    func = tvm.build(s, [A, B, C], target="llvm", name="gemv")
    a, b = rand(N, L), rand(M, L)
    c = tvm.nd.array(np.zeros((N, M), "float32"), DEV)
    func(tvm.nd.array(a, DEV), tvm.nd.array(b, DEV), c)
    tvm.testing.assert_allclose(c.numpy(), np.dot(a, b.T), rtol=1e-5, atol=1e-5)


def test_tensorize_with_a_buffer_whose_stride_is_not_as_declared_is_refused():
    A = te.placeholder((8, 4), name="A")
    B = te.compute((8, 4), lambda i, j: A[i, j] + 1.0, name="B")
    a = te.placeholder((8,), name="a")
    b = te.compute((8,), lambda i: a[i] + 1.0, name="b")
    Ab = tvm.tir.decl_buffer(a.shape, a.dtype, name="A", strides=[1])
    intrin = te.decl_tensor_intrin(
        b.op,
        lambda ins, outs: tvm.tir.call_extern("int32", "f", ins[0].access_ptr("r"), outs[0].access_ptr("w")),
        binds={a: Ab},
        name="strided",
    )
    s = te.create_schedule(B.op)
    s[B].reorder(B.op.axis[1], B.op.axis[0])
    s[B].tensorize(B.op.axis[0], intrin)
    with pytest.raises(tvm.TVMError, match="are 4 elements apart, and intrinsic strided takes them to be 1 apart"):
        tvm.lower(s, [A, B])


def test_intrinsics_and_mathematics():
    n = te.var("n")
    A = te.placeholder((n,), name="A")
    B = te.compute(
        A.shape,
        lambda i: te.exp(A[i]) + tvm.tir.call_pure_extern("float32", "expf", A[i]) * tvm.tir.tanh(A[i])
        + te.log(tvm.tir.abs(A[i]) + 1.0) + tvm.tir.max(A[i], 0.25) + tvm.te.floor(A[i] * 3.0),
        name="B",
    )  # fmt: skip
    s = te.create_schedule(B.op)
    a = rand(100)
    b = tvm.nd.empty((100,))
    tvm.build(s, [A, B], "llvm", name="maths")(tvm.nd.array(a), b)
    x = a.astype("float64")
    expected = np.exp(x) + np.exp(x) * np.tanh(x) + np.log(np.abs(x) + 1) + np.maximum(x, 0.25) + np.floor(a * 3)
    tvm.testing.assert_allclose(b.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_extern_with_ir_builder():
    n = te.size_var("n")
    A = te.placeholder((n,), name="A")

    def generator(ins, outs):
        ib = tvm.tir.ir_builder.create()
        source, target = ib.buffer_ptr(ins[0]), ib.buffer_ptr(outs[0])
        with ib.for_range(0, n, name="i", kind="parallel") as i:
            with ib.if_scope(source[i] > 0.0):
                target[i] = source[i]
            with ib.else_scope():
                target[i] = tvm.tir.const(0, "float32")
        return ib.get()

    C = te.extern(A.shape, [A], generator, name="C")
    s = te.create_schedule(C.op)
    a, c = rand(37), tvm.nd.empty((37,))
    tvm.build(s, [A, C], "llvm")(tvm.nd.array(a), c)
    np.testing.assert_array_equal(c.numpy(), np.maximum(a, 0))


@tvm.register_func("test.compat.product_plus")
def product_plus(x, y, out, extra):
    out[:] = x.numpy() @ y.numpy() + extra


def test_extern_with_call_packed():
    n, m, l = 5, te.var("m"), 7  # noqa: E741
    A = te.placeholder((n, m), name="A")
    B = te.placeholder((m, l), name="B")
    C = te.extern(
        (n, l),
        [A, B],
        lambda ins, outs: tvm.tir.call_packed("test.compat.product_plus", ins[0], ins[1], outs[0], 0.5),
        name="C",
    )
    D = te.compute(C.shape, lambda i, j: C[i, j] * 2.0, name="D")
    s = te.create_schedule(D.op)
    f = tvm.build(s, [A, B, D], "llvm")
    a, b, d = rand(n, 6), rand(6, l), tvm.nd.empty((n, l))
    f(tvm.nd.array(a), tvm.nd.array(b), d)
    tvm.testing.assert_allclose(d.numpy(), 2 * (a @ b + 0.5), rtol=1e-5, atol=1e-5)
    assert tvm.get_global_func("test.compat.product_plus") is product_plus
    with pytest.raises(tvm.TVMError, match=r"no function 'test\.compat\.other'"):
        tvm.get_global_func("test.compat.other")


def test_topi():
    A = te.placeholder((1, 3, 8, 8), name="A")
    W = te.placeholder((4, 3, 3, 3), name="W")
    B = topi.nn.relu(topi.nn.conv2d(A, W, strides=1, padding=1, dilation=1) + 0.5)
    assert topi.utils.get_const_tuple(B.shape) == (1, 4, 8, 8)
    a, w, b = rand(1, 3, 8, 8), rand(4, 3, 3, 3), tvm.nd.empty((1, 4, 8, 8))
    tvm.build(te.create_schedule(B.op), [A, W, B], "llvm")(tvm.nd.array(a), tvm.nd.array(w), b)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(a[0], ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
    expected = np.maximum(np.einsum("cyxij,fcij->fyx", windows, w) + 0.5, 0)
    tvm.testing.assert_allclose(b.numpy()[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["relay", "auto_scheduler", "rpc", "cuda", "contrib.cc", "contrib.cblas"])
def test_what_is_absent_says_what_to_use_instead(name: str):
    with pytest.raises(tvm.TVMError, match=f"^tvm.{name}: not part of this package") as refusal:
        attrgetter(name)(tvm)
    assert refusal.value.advice


def test_a_temporary_folder_is_there_until_it_is_removed():
    folder = tvm.contrib.utils.tempdir()
    Path(folder.relpath("x.o")).touch()
    assert folder.listdir() == ["x.o"] and Path(folder.temp_dir).is_dir()
    folder.remove()
    assert not folder.path.exists()


def test_the_module_of_kernels_for_a_gpu_shows_their_source():
    A = te.placeholder((64,), name="A")
    B = te.compute((64,), lambda i: A[i] + 1.0, name="B")
    s = te.create_schedule(B.op)
    outer, inner = s[B].split(B.op.axis[0], factor=32)
    s[B].bind(outer, te.thread_axis("blockIdx.x"))
    s[B].bind(inner, te.thread_axis("threadIdx.x"))
    (module,) = tvm.build(s, [A, B], "cuda -arch=sm_80").imported_modules
    assert "TW_KERNEL" in module.get_source()
    with pytest.raises(ArgumentError, match="the module is for a GPU"):
        module.get_source("asm")


def test_what_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tvm.nonsense  # noqa: B018


def test_equality_of_expressions_is_refused_as_a_condition():
    A = te.placeholder((4,), name="A")
    with pytest.raises(tvm.TVMError, match=r"write a\.equal\(b\) for equality of values"):
        te.compute((4,), lambda i: tvm.tir.if_then_else(i == 0, A[i], 0.0))


def test_shapes_serve_numpy():
    A = te.placeholder((4, 5), name="A")
    assert np.zeros(A.shape).shape == (4, 5)
    assert int(A.shape[0]) == 4 and A.op.input_tensors == ()


def test_data_types_are_compared_with_names_and_taken_by_numpy():
    A = te.placeholder((4,), dtype="int8", name="A")
    assert A.dtype == "int8" and A.dtype != "uint8" and A.dtype in {"int8", "float32"}
    assert np.ones(4, A.dtype).dtype == np.int8
    with pytest.raises(TypeError, match="bfloat16"):
        np.ones(4, te.placeholder((4,), dtype="bfloat16").dtype)
