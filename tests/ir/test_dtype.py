"""Data types: names, limits, promotion."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tilewright.ir.dtype import (
    ALL,
    STORAGE_ONLY,
    DType,
    bfloat16,
    boolean,
    dtype_of,
    float16,
    float32,
    float64,
    int4,
    int8,
    int16,
    int32,
    int64,
    promote,
    uint8,
    uint32,
    uint64,
)
from tilewright.ir.errors import TypeMismatch

NUMPY = [t for t in ALL if t not in (bfloat16, int4)]


@pytest.mark.parametrize("dtype", NUMPY, ids=str)
def test_name_and_size_are_those_of_numpy(dtype: DType) -> None:
    assert np.dtype(str(dtype)).itemsize == dtype.bytes


@pytest.mark.parametrize("dtype", [t for t in NUMPY if t.is_int], ids=str)
def test_integer_limits_are_those_of_numpy(dtype: DType) -> None:
    info = np.iinfo(str(dtype))
    assert (dtype.min_value, dtype.max_value) == (info.min, info.max)


def test_types_of_less_than_a_byte_take_one() -> None:
    assert (int4.bytes, int4.min_value, int4.max_value) == (1, -8, 7)
    assert (boolean.bytes, boolean.min_value, boolean.max_value) == (1, 0, 1)
    assert float32.max_value == float("inf") and float32.min_value == float("-inf")


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_a_type_is_found_by_its_name(dtype: DType) -> None:
    assert dtype_of(str(dtype)) == dtype
    assert dtype_of(dtype) is dtype


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(TypeMismatch, match="unknown data type 'float31'") as refusal:
        dtype_of("float31")
    assert "float32" in str(refusal.value)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (int32, int32, int32),
        (int32, int64, int64),
        (uint8, int8, int8),
        (uint32, int32, int32),
        (uint64, int32, uint64),
        (int16, uint8, int16),
        (int64, float32, float32),
        (float32, float64, float64),
        (float16, float32, float32),
        (float16, bfloat16, float32),
        (boolean, uint8, uint8),
        (boolean, float32, float32),
        (boolean, boolean, boolean),
    ],
    ids=str,
)
def test_promotion(a: DType, b: DType, expected: DType) -> None:
    assert promote(a, b) == expected
    assert promote(b, a) == expected


def test_promotion_does_not_depend_on_the_order_or_on_repetition() -> None:
    for a, b in product(ALL, repeat=2):
        common = promote(a, b)
        assert common == promote(b, a)
        assert promote(common, a) == promote(common, b) == common


def test_promotion_gives_a_float_if_either_is_one() -> None:
    for a, b in product(ALL, repeat=2):
        assert promote(a, b).is_float == (a.is_float or b.is_float)


def test_storage_types_are_not_kinds_apart() -> None:
    assert {str(t) for t in STORAGE_ONLY} == {"float16", "bfloat16", "int4"}
    assert bfloat16.is_float and int4.is_int and not boolean.is_int
