"""The scratch allocator: aligned, disjoint, reused, bounded."""

from __future__ import annotations

import ctypes
import random
import threading

import pytest

from tilewright.runtime import pool
from tilewright.runtime.alloc_text import CACHE_LIMIT_BYTES
from tilewright.runtime.library import library

alloc = library().functions["tilewright_alloc"]
free = library().functions["tilewright_free"]
cached_bytes = library().functions["tilewright_cached_bytes"]


def test_blocks_are_aligned_and_disjoint_and_keep_their_contents() -> None:
    draw = random.Random(1)
    live: dict[int, tuple[int, int]] = {}  # address -> size, byte
    for _ in range(3000):
        if len(live) > 40 or (live and draw.random() < 0.4):
            address = draw.choice(list(live))
            size, byte = live.pop(address)
            assert ctypes.string_at(address, size) == bytes([byte]) * size
            free(address)
            continue
        size, align = draw.choice([0, 1, 63, 64, 255, 4096, 70_000]) + draw.randrange(100), 1 << draw.randrange(13)
        address, byte = alloc(size, align), draw.randrange(256)
        assert address % max(64, align) == 0
        assert all(address + size <= a or a + s <= address for a, (s, _) in live.items())
        ctypes.memset(address, byte, size)
        live[address] = (size, byte)
    for address in live:
        free(address)
    pool.release_scratch()


def test_a_freed_block_is_given_again() -> None:
    first = alloc(1 << 20, 64)
    free(first)
    second = alloc(1 << 20, 64)
    free(second)
    assert first == second


def test_what_is_kept_is_bounded() -> None:
    blocks = [alloc(CACHE_LIMIT_BYTES // 5, 64) for _ in range(12)]
    for block in blocks:
        free(block)
    assert 0 < cached_bytes() <= CACHE_LIMIT_BYTES
    pool.release_scratch()
    assert cached_bytes() == 0


def test_threads_keep_blocks_apart() -> None:
    pool.release_scratch()
    block = alloc(1 << 16, 64)
    seen: list[int] = []

    def release() -> None:
        free(block)
        seen.append(cached_bytes())

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert seen[0] >= 1 << 16
    assert cached_bytes() == 0


@pytest.mark.parametrize("size", [1 << 46, 1 << 62, -1])
def test_an_impossible_size_gives_null(size: int) -> None:
    assert alloc(size, 64) is None


def test_freeing_null_does_nothing() -> None:
    before = cached_bytes()
    free(None)
    assert cached_bytes() == before
