"""Building: the compile cache and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tilewright import te
from tilewright.ir.errors import ArgumentError, CodegenError, TargetError
from tilewright.ir.settings import Settings
from tilewright.runtime import build as building
from tilewright.runtime import trace
from tilewright.runtime.build import build, cache_stats, clear_cache

from .nests import elementwise


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


def test_equal_nests_are_compiled_once() -> None:
    first, second = build(elementwise("f", 10)), build(elementwise("f", 10))
    assert first.code is second.code
    assert (cache_stats().hits, cache_stats().misses) == (1, 1)


@pytest.mark.parametrize("change", ["name", "extent", "effort", "target"])
def test_any_difference_is_compiled_anew(change: str) -> None:
    build(elementwise("f", 10))
    build(
        elementwise("g" if change == "name" else "f", 11 if change == "extent" else 10),
        effort="quick" if change == "effort" else "full",
        target="llvm -vector-width=128" if change == "target" else "llvm",
    )
    assert (cache_stats().hits, cache_stats().misses) == (0, 2)


def test_the_cache_forgets_what_was_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "settings", lambda: Settings(cache_entries=2))
    for extent in (1, 2, 1, 3, 1, 2):  # 2 is dropped for 3, and compiled again
        build(elementwise("f", extent))
    assert (cache_stats().hits, cache_stats().misses, cache_stats().entries) == (2, 4, 2)


def test_both_efforts_give_the_same_values() -> None:
    a, b, c = (np.arange(10, dtype=np.float32) for _ in range(3))
    build(elementwise("f", 10), effort="quick")(a, b)
    build(elementwise("f", 10), effort="full")(a, c)
    assert (b == 2 * a).all()
    assert (c == b).all()


def test_functions_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="two functions are called f"):
        build([elementwise("f", 10), elementwise("f", 11)])


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ArgumentError, match="build: a str is given"):
        build("f")
    with pytest.raises(ArgumentError, match="build: a Tensor is given"):
        build(te.placeholder((4,)))


def test_a_target_that_is_no_text_is_refused() -> None:
    with pytest.raises(TargetError, match="target: 5 is a int"):
        build(elementwise("f", 10), target=5)


def test_nothing_to_build_is_refused() -> None:
    with pytest.raises(ArgumentError, match="build: no functions"):
        build([])


@pytest.mark.parametrize(
    ("name", "fact", "advice"),
    [
        ("my kernel", "'my kernel' is no identifier of C", "'my_kernel'"),
        ("1x1", "'1x1' is no identifier", "'kernel_1x1'"),
        ("größe", "'größe' is no identifier", "'gr__e'"),
        ("", "'' is no identifier", "'kernel_'"),
        ("tilewright_alloc", "'tilewright_alloc' is one of the runtime's", "begins otherwise"),
    ],
)
def test_a_name_that_c_cannot_call_is_refused(name: str, fact: str, advice: str) -> None:
    with pytest.raises(ArgumentError, match=f"build: the name {fact}") as refused:
        build(elementwise(name, 10))
    assert advice in refused.value.advice


def test_a_target_without_a_backend_here_is_refused() -> None:
    with pytest.raises(CodegenError, match="no code for target kind 'c'"):
        build(elementwise("f", 10), target="c")


@pytest.mark.parametrize(
    "level, shown, hidden", [(0, "", "compiled"), (1, "# compiled f:", "for i"), (6, "f__packed:", "?")]
)
def test_the_debug_level_says_what_is_shown(
    level: int, shown: str, hidden: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trace, "settings", lambda: Settings(debug=level))
    build(elementwise("f", 10))
    text = capsys.readouterr().err
    assert shown in text
    assert hidden not in text
