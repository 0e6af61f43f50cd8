"""Lesson 13: an operator of your own, from its expression to a tuned kernel, in thirty lines.

Nobody ships a kernel for "the squared distance of each point to each centre".  As a template it takes a dozen lines:
the expression, the decisions that are left open, and what they mean for the loops.  A tuner makes the decisions.
"""

import numpy as np

import tilewright
from tilewright import autotune, te


@autotune.template("lesson.distances")
def distances(points, centres, features):
    """Declare the squared distances of points to centres, and the decisions that are open."""
    P = te.placeholder((points, features), name="P")
    C = te.placeholder((features, centres), name="C")
    f = te.reduce_axis((0, features), name="f")
    D = te.compute((points, centres), lambda i, j: te.sum((P[i, f] - C[f, j]) * (P[i, f] - C[f, j]), axis=f), name="D")
    s = tilewright.create_schedule(D.op)
    config = autotune.get_config()
    config.define_split("rows", D.op.axis[0], num_outputs=2, max_factor=16)
    config.define_split("lanes", D.op.axis[1], num_outputs=2, filter=lambda e: e.size[-1] in (8, 16, 32, 48, 64))
    config.define_knob("unroll", [1, 2, 4])
    i_o, i_i = config["rows"].apply(s, D, D.op.axis[0])
    j_o, j_i = config["lanes"].apply(s, D, D.op.axis[1])
    f_o, f_i = s[D].split(f, factor=config["unroll"].val)
    s[D].reorder(i_o, j_o, f_o, f_i, i_i, j_i)
    s[D].unroll(f_i)
    s[D].unroll(i_i)
    s[D].vectorize(j_i)
    return s, [P, C, D]


if __name__ == "__main__":  # the tuner's workers may import this file
    task = autotune.task.create("lesson.distances", args=(512, 96, 64), target="llvm")
    print(f"{len(task.config_space)} ways: {task.config_space}")
    result = autotune.Tuner(task, seed=1).tune(n_trial=24)
    schedule, tensors = task.instantiate(task.config_space.get(result.best.index))
    kernel = tilewright.build(schedule, tensors, target=task.target, name="distances")

    # Every candidate was compared with the expression's meaning before it was timed.  Here is the best one, once more.

    print(f"\nThe best of {result.valid} valid ones:\n{schedule}")
    rng = np.random.default_rng(0)
    p, c = rng.standard_normal((512, 64), dtype="float32"), rng.standard_normal((64, 96), dtype="float32")
    d = np.empty((512, 96), "float32")
    kernel(p, c, d)
    exact = ((p[:, :, np.newaxis].astype("float64") - c) ** 2).sum(axis=1)
    np.testing.assert_allclose(d, exact, rtol=64 * np.finfo("float32").eps)
    print(f"\n{result.best.gflops:.1f} GFLOP/s")
    if result.default:  # what the template gives without tuning, measured in turn with the best
        print(f"{result.default.median_s / result.best.median_s:.1f} times as fast as the default")
