"""Programs that say the same have one hash; each change of meaning changes it."""

import subprocess
import sys

import pytest

import tilewright.te as te
from tilewright.te import operators
from tilewright.te.canonical import canonical_text, content_hash

ORIGINAL = {
    "rows": 6, "dtype": "float32", "scale": 2.0, "reducer": "sum", "start": 0, "where": None, "init": None,
    "swap": False, "shift": 0, "transposed": False, "extra": False, "component": 0,
}  # fmt: skip
MUTATIONS = {
    "rows": 5, "dtype": "float64", "scale": 2.5, "reducer": "max", "start": 1, "where": 3, "init": 1.0,
    "swap": True, "shift": 1, "transposed": True, "extra": True, "component": 1,
}  # fmt: skip


def program(prefix="", copy_nodes=False, **changes):
    facts = ORIGINAL | changes
    a = te.placeholder((6, 8), facts["dtype"], name=f"{prefix}A")
    b = te.placeholder((8, 8), facts["dtype"], name=f"{prefix}B")
    k = te.reduce_axis((facts["start"], 7), f"{prefix}k")
    where = None if facts["where"] is None else k < facts["where"]

    def product(i, j):
        left, right = a[i, k + facts["shift"]], b[(k, j) if not facts["transposed"] else (j, k)]
        return right * left if facts["swap"] else left * right

    reducer = getattr(te, facts["reducer"])
    c = te.compute(
        (facts["rows"], 6), lambda i, j: reducer(product(i, j), axis=k, where=where, init=facts["init"]), f"{prefix}C"
    )

    def twice(i, j):
        x = c[i, j]
        again = c[i, j] if copy_nodes else x
        return x * again * facts["scale"] + (1 if facts["extra"] else 0), x

    return te.compute(c.shape, twice, name=f"{prefix}D")[facts["component"]]


def test_names_do_not_count():
    assert canonical_text(program()) == canonical_text(program(prefix="other_"))


def test_sharing_in_memory_does_not_count():
    assert content_hash(program()) == content_hash(program(copy_nodes=True))


@pytest.mark.parametrize("fact", MUTATIONS)
def test_each_fact_counts(fact):
    assert content_hash(program()) != content_hash(program(**{fact: MUTATIONS[fact]}))


def test_how_exact_results_must_be_counts():
    image, kernel = te.placeholder((1, 4, 6, 6)), te.placeholder((8, 4, 3, 3))
    errors = (None, 1e-4, 2e-4)
    assert len({content_hash(operators.conv2d(image, kernel, relative_error=error)) for error in errors}) == 3
    a, b = te.placeholder((4, 4)), te.placeholder((4, 4))
    assert content_hash(operators.matmul(a, b)) != content_hash(operators.matmul(a, b, precision="tf32"))


def test_equal_reducers_made_apart_are_equal():
    def sums(reducers):
        a, k = te.placeholder((4, 4)), te.reduce_axis((0, 4))
        b = te.compute((4,), lambda i: reducers[0](a[i, k], axis=k))
        c = te.compute((4,), lambda i: reducers[1](a[k, i], axis=k))
        return [b, c]

    def made():
        return te.comm_reducer(lambda x, y: x + y, lambda t: 0)

    one = made()
    assert content_hash(sums([one, one])) == content_hash(sums([made(), made()]))
    assert content_hash(sums([one, one])) != content_hash(sums([one, te.max]))


def test_which_input_is_read_counts():
    def difference(first, second):
        tensors = [te.placeholder((4,), name="a"), te.placeholder((4,), name="b")]
        return tensors[first] - tensors[second]

    assert content_hash(difference(0, 1)) == content_hash(difference(1, 0))  # the same function of its two inputs
    assert content_hash(difference(0, 1)) != content_hash(difference(0, 0))


def test_scans_and_extern_statements_count():
    def scan(back):
        state = te.placeholder((8, 3))
        init = te.compute((2, 3), lambda t, i: te.const(0.0))
        return te.scan(init, te.compute((8, 3), lambda t, i: state[t - back, i] + 1), state)

    def extern(value):
        def statements(ins, outs):
            ib = te.ir_builder.create()
            with ib.for_range(0, 4, "i") as i:
                ib.buffer_ptr(outs[0])[i] = value
            return ib.get()

        return te.extern((4,), [], statements, dtype="float32")

    assert content_hash(scan(1)) == content_hash(scan(1)) != content_hash(scan(2))
    assert content_hash(extern(1.0)) == content_hash(extern(1.0)) != content_hash(extern(2.0))


def test_symbolic_sizes_are_told_from_each_other():
    def shape(square):
        n, m = te.var("n"), te.var("m")
        return te.placeholder((n, n if square else m)) + 1

    assert content_hash(shape(True)) != content_hash(shape(False)) == content_hash(shape(False))


def test_deep_sharing_stays_small():
    x = te.placeholder((4,))

    def doubled(i):
        value = x[i]
        for _ in range(60):
            value = value + value
        return value

    assert len(canonical_text(te.compute((4,), doubled))) < 4000


def test_another_process_gives_the_same_hash():
    script = (
        "import tilewright.te as te; from tilewright.te.operators import conv2d_nchw, relu;"
        "from tilewright.te.canonical import content_hash;"
        "d, w = te.placeholder((1, 4, 8, 8)), te.placeholder((8, 4, 3, 3));"
        "print(content_hash(relu(conv2d_nchw(d, w, 1, 1))))"
    )
    d, w = te.placeholder((1, 4, 8, 8)), te.placeholder((8, 4, 3, 3))
    ours = content_hash(operators.relu(operators.conv2d_nchw(d, w, 1, 1)))
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == ours
