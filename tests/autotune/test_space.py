"""Search spaces: candidates, numbering, constraints, draws and mutations."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest

from tilewright.autotune.entities import (
    AnnotateEntity,
    OtherOptionEntity,
    ReorderEntity,
    SplitEntity,
    entity_from_json,
)
from tilewright.autotune.features import FeatureTable
from tilewright.autotune.space import ConfigSpace
from tilewright.ir import arith
from tilewright.ir.errors import TuneError
from tilewright.ir.expr import Var
from tilewright.te.axis import Axis


def sizes(space: ConfigSpace, name: str) -> list[tuple[int, ...]]:
    return [e.size for e in space.fragments[name].entities]  # type: ignore[union-attr]


def make_space() -> ConfigSpace:
    space = ConfigSpace()
    space.define_split("m", 24, num_outputs=3)
    space.define_split("n", 96, "verbose", num_outputs=2)
    space.define_reorder("order", [0, 1, 2], "all")
    space.define_annotate("ann", [0, 1], "try_unroll_vec")
    space.define_knob("unroll", [1, 2, 8], default=2)
    return space


# -- candidates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extent", [1, 2, 12, 97, 224])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_factors_are_all_exact_splits(extent: int, outputs: int) -> None:
    space = ConfigSpace()
    space.define_split("x", extent, num_outputs=outputs)
    oracle = {(-1, *inner) for inner in product(range(1, extent + 1), repeat=outputs - 1) if extent % prod(inner) == 0}
    found = sizes(space, "x")
    assert set(found) == oracle and len(found) == len(oracle)


def test_power2_is_every_power_up_to_the_extent() -> None:
    space = ConfigSpace()
    space.define_split("x", 20, "power2", num_outputs=2)
    assert sizes(space, "x") == [(-1, 1), (-1, 2), (-1, 4), (-1, 8), (-1, 16)]


def test_verbose_is_divisors_and_powers() -> None:
    space = ConfigSpace()
    space.define_split("x", 20, "verbose", num_outputs=2)
    assert [s[1] for s in sizes(space, "x")] == [1, 2, 4, 5, 8, 10, 16, 20]


def test_no_tail_keeps_what_divides() -> None:
    space = ConfigSpace()
    space.define_split("x", 20, "verbose", num_outputs=2, no_tail=True)
    assert [s[1] for s in sizes(space, "x")] == [1, 2, 4, 5, 10, 20]


def test_max_factor_filter_and_candidate() -> None:
    space = ConfigSpace()
    space.define_split("a", 64, max_factor=8)
    space.define_split("b", 64, filter=lambda e: e.size[-1] >= 16)
    space.define_split("c", 64, "candidate", num_outputs=3, candidate=[(-1, 2, 8), (-1, 4, 4)])
    assert [s[1] for s in sizes(space, "a")] == [1, 2, 4, 8]
    assert [s[1] for s in sizes(space, "b")] == [16, 32, 64]
    assert sizes(space, "c") == [(-1, 2, 8), (-1, 4, 4)]


def test_innermost_factor_varies_slowest_as_in_autotvm() -> None:
    space = ConfigSpace()
    space.define_split("x", 4, num_outputs=3)
    assert sizes(space, "x") == [(-1, 1, 1), (-1, 2, 1), (-1, 4, 1), (-1, 1, 2), (-1, 2, 2), (-1, 1, 4)]


def test_reorder_and_annotate_policies() -> None:
    space = ConfigSpace()
    space.define_reorder("all", [0, 1, 2], "all")
    space.define_reorder("interval", [0, 1, 2, 3], "interval_all", candidate=[(1, 3)])
    space.define_annotate("ann", [0, 1], "try_unroll_vec")
    assert len(space.fragments["all"]) == 6
    assert [e.perm for e in space.fragments["interval"].entities] == [(0, 1, 2, 3), (0, 2, 1, 3)]  # type: ignore[union-attr]
    assert len(space.fragments["ann"]) == 9 - 1  # not both loops vectorized


def test_axes_give_their_extent() -> None:
    space = ConfigSpace()
    space.define_split("x", Axis(Var("i"), arith.const(12)))
    assert space.fragments["x"].entities[-1] == SplitEntity((-1, 12))
    with pytest.raises(TuneError, match="not a positive number"):
        space.define_split("y", Axis(Var("i"), Var("n")))


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        (lambda s: s.define_split("x", 8, "halves"), "unknown policy 'halves'"),
        (lambda s: s.define_reorder("x", [0], "some"), "unknown policy 'some'"),
        (lambda s: s.define_annotate("x", [0], "try_fly"), "unknown policy 'try_fly'"),
        (lambda s: s.define_knob("x", []), "no candidates"),
        (lambda s: s.define_knob("x", [1, 2], default=3), "not among its 2 candidates"),
        (lambda s: (s.define_knob("x", [1]), s.define_knob("x", [1])), "defined twice"),
        (lambda s: s.restrict(lambda x: x, "x"), "no knob 'x'"),
        (lambda s: s["x"], "no knob 'x'"),
        (lambda s: s.get(1), "number 1 in a space of 1"),
    ],
)
def test_refusals(define: object, sentence: str) -> None:
    with pytest.raises(TuneError, match=sentence):
        define(ConfigSpace())  # type: ignore[operator]


# -- numbering ----------------------------------------------------------------------------------------------------


def test_numbers_and_configurations_are_one_to_one() -> None:
    space = make_space()
    assert len(space) == prod(len(f) for f in space.fragments.values())
    assert len({space.get(i) for i in range(0, len(space), 37)}) == len(range(0, len(space), 37))
    for index in range(0, len(space), 37):
        config = space.get(index)
        assert space.find(config.entities) == index == config.index


def test_first_knob_varies_fastest() -> None:
    space = make_space()
    assert space.get(1)["m"] == space.fragments["m"].entities[1]
    assert space.get(1)["unroll"] == space.fragments["unroll"].entities[0]


def test_matrix_and_indices_are_inverse() -> None:
    space = make_space()
    indices = np.arange(len(space))
    assert (space.indices(space.matrix(indices)) == indices).all()


def test_spaces_wider_than_64_bits() -> None:
    space = ConfigSpace()
    for n in range(30):
        space.define_knob(f"k{n}", list(range(10)))
    assert space.size == 10**30
    rows = space.sample(50, np.random.default_rng(0))
    indices = space.indices(rows)
    assert (space.matrix(indices) == rows).all()
    assert space.is_valid_index(10**30 - 1) and not space.is_valid_index(10**30)
    assert [space.get(10**30 - 1)[f"k{n}"].val for n in range(30)] == [9] * 30


def test_default_configuration() -> None:
    space = make_space()
    assert space["unroll"].val == 2 and space.is_fallback
    assert space.default is not None and space.get(space.default)["unroll"].val == 2
    space["n"] = SplitEntity((-1, 16))
    assert space["n"].size == (-1, 16) and space.get(space.default)["n"].size == (-1, 16)
    space["n"] = SplitEntity((-1, 17))  # usable, but no candidate
    assert space["n"].size == (-1, 17) and space.default is None


def test_chosen_configuration_ignores_definitions() -> None:
    config = make_space().get(5)
    before = config.to_json()
    axes = config.define_split("m", 24, num_outputs=3)
    config.define_knob("other", [1])
    config["m"] = SplitEntity((-1, 1, 1))
    assert len(axes) == 3 and config.to_json() == before and not config.is_fallback


@pytest.mark.parametrize(
    "entity",
    [SplitEntity((-1, 4)), ReorderEntity((1, 0)), AnnotateEntity(("vec", "none")), OtherOptionEntity("a")],
)
def test_entities_survive_json(entity: object) -> None:
    assert entity_from_json(*entity.to_json()) == entity  # type: ignore[attr-defined]


def test_fingerprint_follows_the_candidates() -> None:
    other = make_space()
    assert make_space().fingerprint == other.fingerprint
    other.define_knob("more", [1, 2])
    assert make_space().fingerprint != other.fingerprint


# -- entities on a schedule ---------------------------------------------------------------------------------------


class LoggedStage:
    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []

    def split(self, parent: str, factor: int | None = None, nparts: int | None = None) -> tuple[str, str]:
        self.log.append(("split", parent, factor))
        return f"{parent}o", f"{parent}i"

    def reorder(self, *axes: str) -> None:
        self.log.append(("reorder", *axes))

    def unroll(self, axis: str) -> None:
        self.log.append(("unroll", axis))

    def vectorize(self, axis: str) -> None:
        self.log.append(("vectorize", axis))


def test_split_entity_cuts_from_the_outside() -> None:
    stage = LoggedStage()
    assert SplitEntity((-1, 4, 2)).apply({"C": stage}, "C", "x") == ["xo", "xio", "xii"]
    assert stage.log == [("split", "x", 8), ("split", "xi", 2)]


def test_reorder_entity_gives_the_new_order() -> None:
    stage = LoggedStage()
    assert ReorderEntity((2, 0, 1)).apply({"C": stage}, "C", ["a", "b", "c"]) == ["c", "a", "b"]
    assert ReorderEntity((0, 1)).apply({"C": stage}, "C", ["a", "b"]) == ["a", "b"]
    assert stage.log == [("reorder", "c", "a", "b")]


def test_annotate_entity_keeps_its_limits() -> None:
    stage = LoggedStage()
    words = AnnotateEntity(("unroll", "unroll", "vec", "none"))
    words.apply({"C": stage}, "C", list("abcd"), axis_lens=[4, 40, 7, 1], max_unroll=16, vec_size=[8, 16])
    assert stage.log == [("unroll", "a")]


# -- constraints --------------------------------------------------------------------------------------------------


def test_constraints_keep_exactly_what_holds() -> None:
    space = make_space()
    space.restrict(lambda m, n: m.size[-1] * n.size[-1] <= 32, "m", "n")
    space.restrict(lambda n, u: (n.size[-1] >= 16) | (u.val == 1), "n", "unroll")
    oracle = []
    for index in range(len(space)):
        config = space.get(index)
        m, n, u = config["m"].size[-1], config["n"].size[-1], config["unroll"].val
        if m * n <= 32 and (n >= 16 or u == 1):
            oracle.append(index)
    found = [int(i) for chunk in space.valid_indices(chunk=100) for i in chunk]
    assert found == oracle
    assert space.valid_count == len(oracle)
    assert [space.is_valid_index(i) for i in range(200)] == [i in set(oracle) for i in range(200)]


def test_predicates_on_single_values_work_too() -> None:
    vectorised, branching = make_space(), make_space()
    vectorised.restrict(lambda m, n: m.size[-1] * n.size[-1] <= 32, "m", "n")
    branching.restrict(lambda m, n: True if m.size[-1] * n.size[-1] <= 32 else False, "m", "n")  # noqa: SIM210
    assert vectorised.valid_count == branching.valid_count


def test_draws_are_valid_and_uniform() -> None:
    space = ConfigSpace()
    space.define_knob("a", list(range(10)))
    space.define_knob("b", list(range(10)))
    space.define_knob("c", [0, 1])
    space.restrict(lambda a, b: a.val + b.val < 4, "a", "b")
    indices = space.indices(space.sample(20000, np.random.default_rng(3)))
    values, counts = np.unique(indices, return_counts=True)
    assert len(values) == space.valid_count == 20
    assert counts.min() > 1000 - 5 * 1000**0.5 and counts.max() < 1000 + 5 * 1000**0.5  # five standard deviations


def test_large_components_are_drawn_by_rejection() -> None:
    space = ConfigSpace()
    names = [f"k{n}" for n in range(8)]
    for name in names:
        space.define_knob(name, list(range(16)))
    space.restrict(lambda *k: sum(c.val for c in k) % 5 == 0, *names)
    assert space.valid_count is None
    rows = space.sample(500, np.random.default_rng(0))
    assert (rows.sum(axis=1) % 5 == 0).all()


def test_impossible_constraints_are_refused() -> None:
    space = make_space()
    space.restrict(lambda u: u.val > 100, "unroll")
    with pytest.raises(TuneError, match="none of 3 combinations of unroll"):
        space.sample(1, np.random.default_rng(0))


def space_of_two_algorithms() -> ConfigSpace:
    space = ConfigSpace()
    space.define_knob("algorithm", ["direct", "gemm"])
    space.define_knob("rows", [1, 2, 4])
    space.define_knob("columns", [1, 2, 4, 8], default=2)
    space.define_knob("depth", [8, 16], default=16)
    space.define_knob("unroll", [False, True])
    space.restrict(lambda r, c: r.val * c.val <= 8, "rows", "columns")
    space.matter_where("algorithm", "direct", "rows", "columns")
    space.matter_where("algorithm", "gemm", "depth")
    return space


def test_knobs_that_do_not_matter_stay_at_their_defaults() -> None:
    space = space_of_two_algorithms()
    found = [space.get(int(i)) for chunk in space.valid_indices() for i in chunk]
    direct = {(c["rows"].val, c["columns"].val) for c in found if c["algorithm"].val == "direct"}
    assert direct == {(r, c) for r in (1, 2, 4) for c in (1, 2, 4, 8) if r * c <= 8}
    assert {(c["rows"].val, c["columns"].val) for c in found if c["algorithm"].val == "gemm"} == {(1, 2)}
    assert {c["depth"].val for c in found if c["algorithm"].val == "direct"} == {16}
    assert space.valid_count == len(found) == 2 * (9 + 2)


def test_draws_and_mutations_keep_what_does_not_matter() -> None:
    space, rng = space_of_two_algorithms(), np.random.default_rng(0)
    rows = space.sample(500, rng)
    assert space.valid(rows).all()
    assert len(np.unique(space.indices(rows))) == space.valid_count
    changed = space.mutate(rows, rng)
    assert space.valid(changed).all()
    assert (changed[:, 0] != rows[:, 0]).any()


def test_mutations_are_valid_and_change_one_or_two_knobs() -> None:
    space = make_space()
    space.restrict(lambda m, n: m.size[-1] * n.size[-1] <= 32, "m", "n")
    rng = np.random.default_rng(0)
    rows = space.sample(2000, rng)
    mutated = space.mutate(rows, rng)
    changed = (rows != mutated).sum(axis=1)
    assert space.valid(mutated).all()
    assert changed.max() <= 2 and (changed >= 1).mean() > 0.98


def test_mutations_reach_everything() -> None:
    space = make_space()
    rng = np.random.default_rng(0)
    rows = space.matrix([0] * 8000)
    seen: set[int] = set()
    for _ in range(100):
        rows = space.mutate(rows, rng)
        seen.update(map(int, space.indices(rows)))
    assert len(seen) > 0.99 * len(space)


# -- features -----------------------------------------------------------------------------------------------------


def test_features_are_the_factors() -> None:
    space = make_space()
    space.define_feature("area", lambda m, n: m.size[-1] * n.size[-1], "m", "n")
    table = FeatureTable(space)
    for index in (0, 77, 1234, len(space) - 1):
        config = space.get(index)
        row = dict(zip(table.names, table(space.matrix([index]))[0], strict=True))
        m, n = config["m"].size, config["n"].size
        assert row["m.size2"] == pytest.approx(np.log2(m[2]))
        assert row["m.size0"] == pytest.approx(np.log2(24 // (m[1] * m[2])))
        assert row["m.inner2"] == pytest.approx(np.log2(m[1] * m[2]))
        assert row["n.waste"] == pytest.approx(-(-96 // n[1]) * n[1] / 96 - 1)
        assert row["m*n"] == pytest.approx(np.log2(m[2] * n[1]))
        assert row["area"] == m[2] * n[1]
        assert row["unroll.val"] == config["unroll"].val
        assert row["ann.1.vec"] == (config["ann"].anns[1] == "vec")
        assert row["order.place0"] == config["order"].perm.index(0)


def test_features_are_distinct_for_distinct_configurations() -> None:
    space = make_space()
    rows = FeatureTable(space)(space.matrix(np.arange(len(space))))
    assert len(np.unique(rows, axis=0)) == len(space)


# -- defaults that constraints exclude ----------------------------------------------------------------------------


def test_a_default_that_a_constraint_excludes_moves_to_the_nearest_that_is_left() -> None:
    space = ConfigSpace()
    space.define_knob("rows", [1, 2, 4, 6, 8, 14], default=14)
    space.define_knob("vectors", [1, 2, 4], default=2)
    space.define_knob("other", ["a", "b"], default="b")
    space.restrict(lambda r, v: r.val * v.val <= 12, "rows", "vectors")
    config = space.default_config()
    assert [config[name].val for name in ("rows", "vectors", "other")] == [6, 2, "b"]
    assert space.default is not None and space.is_valid_index(space.default)


def test_a_default_that_constraints_keep_stays() -> None:
    space = ConfigSpace()
    space.define_knob("rows", [1, 2, 4], default=2)
    space.restrict(lambda r: r.val < 4, "rows")
    assert space.default_config()["rows"].val == 2


def test_configurations_of_one_algorithm_are_valid_whatever_the_defaults_of_others() -> None:
    space = ConfigSpace()
    space.define_knob("algorithm", ["one", "two"])
    space.define_knob("rows", [8, 4, 2])
    space.restrict(lambda r: r.val <= 4, "rows")
    space.matter_where("algorithm", "two", "rows")
    assert space.valid(space.sample(50, np.random.default_rng(0))).all()
