"""Swizzle: the pieces of each row permuted by the row, so that columns of pieces spread over all banks."""

from __future__ import annotations

from operator import xor

import numpy as np
import pytest

from tilewright import te
from tilewright.codegen.interp import interpret
from tilewright.ir.errors import ScheduleError
from tilewright.ir.expr import Load, Var
from tilewright.ir.stmt import Store
from tilewright.ir.visit import free_vars, of_kind
from tilewright.schedule import Schedule, create_schedule, lower

BANK_BYTES, LINE_BYTES = 4, 128


def tile_of(rows: int, columns: int, dtype: str = "float16"):
    """B = A transposed, by way of a cache of one `rows` x `columns` tile of A."""
    a = te.placeholder((2 * rows, 2 * columns), dtype, "A")
    b = te.compute((2 * columns, 2 * rows), lambda i, j: a[j, i], name="B")
    s = create_schedule(b.op)
    cache = s.cache_read(a, "shared", [b])
    i_o, i_i = s[b].split(b.op.axis[0], factor=columns)
    j_o, j_i = s[b].split(b.op.axis[1], factor=rows)
    s[b].reorder(i_o, j_o, i_i, j_i)
    s[cache].compute_at(s[b], j_o)
    return s, cache, (a, b)


def places(s: Schedule, args: tuple) -> dict[tuple[int, int], int]:
    """Give the byte offset at which the cache keeps each element (row, column) of its tile."""
    (store,) = (n for n in of_kind(lower(s, args).body, Store) if n.buffer.scope == "shared")
    shape = [int(d.value) for d in store.buffer.shape]  # type: ignore[attr-defined]
    row, column = free_vars_in(store)
    panels = shape.pop(0) if len(shape) == 4 else 1
    columns, shape = panels * shape[1] * shape[2], [*([panels] if panels > 1 else []), *shape]
    found = {}
    for r in range(shape[-3]):
        for c in range(columns):
            names = {row.name: r, column.name: c, "bitwise_xor": xor}
            at = [eval(str(i), names) for i in store.indices]
            assert all(0 <= i < n for i, n in zip(at, shape, strict=True))
            found[r, c] = int(np.ravel_multi_index(at, shape)) * store.buffer.dtype.bytes
    return found


def free_vars_in(store: Store) -> list[Var]:
    """Give the variables of a copy of one tile: row and column within it, in the order of the source's dimensions."""
    own = dict.fromkeys(v for i in store.indices for v in free_vars(i))
    assert isinstance(store.value, Load)
    return [next(v for v in free_vars(i) if v in own) for i in store.value.indices]


@pytest.mark.parametrize(("columns", "dtype"), [(16, "float16"), (32, "float16"), (64, "float16"), (96, "float16"),
                                                (128, "float16"), (64, "int8"), (32, "float32")])  # fmt: skip
def test_eight_rows_of_one_column_of_pieces_lie_in_different_banks(columns: int, dtype: str):
    s, cache, args = tile_of(16, columns, dtype)
    s[cache].swizzle()
    at = places(s, args)
    assert sorted(at.values()) == list(range(0, max(at.values()) + 1, min(v for v in at.values() if v)))
    elements = 16 // (at[0, 1] - at[0, 0])
    for first in (0, 8):
        for column in range(0, columns, elements):
            banks = {at[first + r, column] % LINE_BYTES // 16 for r in range(8)}
            assert len(banks) == 8


def test_pieces_stay_whole_and_aligned():
    s, cache, args = tile_of(8, 64)
    s[cache].swizzle()
    at = places(s, args)
    for (r, c), place in at.items():
        assert place == at[r, c // 8 * 8] + c % 8 * 2
        assert at[r, c // 8 * 8] % 16 == 0


@pytest.mark.parametrize("kind", ["32B", "64B", "128B"])
@pytest.mark.parametrize("panels", [1, 3])
def test_kinds_for_bulk_copies_are_an_xor_of_address_bits(kind: str, panels: int):
    """Bits 4 to 6 of the address by bits 7 to 9, as many of them as a row has pieces; a panel for each such row."""
    row_bytes = int(kind[:-1])
    s, cache, args = tile_of(16, panels * row_bytes // 2)
    s[cache].swizzle(kind)
    for (r, c), place in places(s, args).items():
        panel, c = divmod(c, row_bytes // 2)
        plain = (panel * 16 + r) * row_bytes + c * 2
        assert place == plain ^ ((plain >> 7) % (row_bytes // 16) << 4)


def test_values_are_the_same():
    s, cache, args = tile_of(12, 32)
    s[cache].swizzle()
    x = np.arange(24 * 64, dtype=np.float16).reshape(24, 64)
    result = np.zeros((64, 24), np.float16)
    interpret(lower(s, args), [x, result])
    np.testing.assert_array_equal(result, x.T)


def test_a_replayed_schedule_swizzles():
    s, cache, args = tile_of(12, 32)
    s[cache].swizzle("xor")
    again = Schedule.from_json(s.to_json(), [args[1]])
    assert str(lower(again, args)) == str(lower(s, args))
    assert "bitwise_xor" in str(again)


def refusal(rows: int, columns: int, kind: str = "xor", dtype: str = "float16") -> ScheduleError:
    s, cache, args = tile_of(rows, columns, dtype)
    with pytest.raises(ScheduleError) as error:
        s[cache].swizzle(kind)
        lower(s, args)
    return error.value


def test_short_rows_are_refused_with_their_size():
    error = refusal(8, 8)
    assert "rows of 8 elements are 16 bytes" in error.fact
    assert "16 elements" in error.advice


def test_rows_that_end_within_a_piece_are_refused():
    assert "rows of 20 elements are 40 bytes" in refusal(8, 20).fact


def test_rows_of_another_length_than_the_kind_are_refused():
    error = refusal(8, 32, "128B")
    assert "64 bytes, and 128B permutes rows of 128 bytes" in error.fact
    assert "multiples of 64 elements" in error.advice


def test_unknown_kinds_are_refused():
    assert "no swizzle '256B'" in refusal(8, 64, "256B").fact


def test_a_second_layout_is_refused():
    s, cache, _ = tile_of(8, 64)
    s[cache].swizzle()
    with pytest.raises(ScheduleError, match="laid out by swizzle already"):
        s[cache].storage_align(s[cache].op.axis[0], 16, 8)
    with pytest.raises(ScheduleError, match="laid out by swizzle already"):
        s[cache].transform_layout(lambda i, j: [j, i])


def test_swizzle_of_a_padded_stage_is_refused():
    s, cache, _ = tile_of(8, 64)
    s[cache].storage_align(s[cache].op.axis[0], 16, 8)
    with pytest.raises(ScheduleError, match="laid out by storage_align already"):
        s[cache].swizzle()


def test_tensors_of_the_caller_are_refused():
    s, _, (_, b) = tile_of(8, 64)
    with pytest.raises(ScheduleError):
        s[b].swizzle()
