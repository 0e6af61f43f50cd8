"""The scratch allocator and the per-thread record as LLVM IR text.

Each thread keeps the blocks it has freed, up to a limit in bytes, in bins by size, four sizes to a power of two.
A kernel that runs again finds its scratch in cache and in the page table, and no thread waits for another.
A block may be freed by another thread than the one that allocated it: it then changes hands.  When a thread ends, its
blocks go back to the system.
"""

from __future__ import annotations

CACHE_LIMIT_BYTES = 128 << 20  # kept free in each thread


def cached_text(limit_bytes: int = CACHE_LIMIT_BYTES) -> str:
    """Give the caching allocator, for systems with POSIX threads and 32-bit thread-local keys (Linux)."""
    return (_HEADER + _THREAD + _CACHED).replace("LIMIT", str(limit_bytes))


def plain_text() -> str:
    """Give an allocator over `malloc` that caches nothing, for any system."""
    return _HEADER + _PLAIN


_HEADER = """
; stands just before the memory that the caller gets: start and size of the block, its bin, next free block
%header = type { ptr, i64, i64, ptr }

declare ptr @malloc(i64)
declare void @free(ptr)
declare ptr @calloc(i64, i64)

; puts the header before the first address in the block that is aligned, and gives that address
define internal ptr @tilewright.dress(ptr %base, i64 %size, i64 %bin, i64 %align) {
  %start = ptrtoint ptr %base to i64
  %after = add i64 %start, 32
  %mask = sub i64 %align, 1
  %over = add i64 %after, %mask
  %low = xor i64 %mask, -1
  %address = and i64 %over, %low
  %user = inttoptr i64 %address to ptr
  %header = getelementptr %header, ptr %user, i64 -1
  %size_at = getelementptr %header, ptr %header, i64 0, i32 1
  %bin_at = getelementptr %header, ptr %header, i64 0, i32 2
  store ptr %base, ptr %header
  store i64 %size, ptr %size_at
  store i64 %bin, ptr %bin_at
  ret ptr %user
}
"""

_THREAD = """
; what a thread keeps: number of threads for its loops (0 for everybody's), bytes in the bins, bins
%thread = type { i32, i32, i64, [192 x ptr] }
@tilewright.key = internal global i32 0

declare i32 @pthread_key_create(ptr, ptr)
declare ptr @pthread_getspecific(i32)
declare i32 @pthread_setspecific(i32, ptr)

define internal void @tilewright.create_key() {
  call i32 @pthread_key_create(ptr @tilewright.key, ptr @tilewright.end_thread)
  ret void
}

define internal ptr @tilewright.thread_if_any() {
  %key = load i32, ptr @tilewright.key
  %thread = call ptr @pthread_getspecific(i32 %key)
  ret ptr %thread
}

define internal ptr @tilewright.thread() {
entry:
  call i32 @pthread_once(ptr @tilewright.once, ptr @tilewright.setup)
  %found = call ptr @tilewright.thread_if_any()
  %none = icmp eq ptr %found, null
  br i1 %none, label %create, label %done
create:
  %null = getelementptr %thread, ptr null, i64 1
  %size = ptrtoint ptr %null to i64
  %new = call ptr @calloc(i64 1, i64 %size)
  %key = load i32, ptr @tilewright.key
  call i32 @pthread_setspecific(i32 %key, ptr %new)
  br label %done
done:
  %thread = phi ptr [%found, %entry], [%new, %create]
  ret ptr %thread
}

define internal void @tilewright.end_thread(ptr %thread) {
  call void @tilewright.empty(ptr %thread)
  call void @free(ptr %thread)
  ret void
}

define internal void @tilewright.empty(ptr %thread) {
entry:
  %bytes = getelementptr %thread, ptr %thread, i64 0, i32 2
  store i64 0, ptr %bytes
  br label %bin
bin:
  %i = phi i64 [0, %entry], [%i1, %next]
  %at = getelementptr %thread, ptr %thread, i64 0, i32 3, i64 %i
  br label %block
block:
  %base = load ptr, ptr %at
  %none = icmp eq ptr %base, null
  br i1 %none, label %next, label %release
release:
  %link = getelementptr %header, ptr %base, i64 0, i32 3
  %rest = load ptr, ptr %link
  store ptr %rest, ptr %at
  call void @free(ptr %base)
  br label %block
next:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, 192
  br i1 %more, label %bin, label %done
done:
  ret void
}
"""

_CACHED = """
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.umax.i64(i64, i64)

; memory of at least `bytes` bytes whose address is a multiple of `align`, a power of two; null if there is none
define ptr @tilewright_alloc(i64 %bytes, i64 %align0) {
entry:
  %align = call i64 @llvm.umax.i64(i64 %align0, i64 64)
  %margin = add i64 %align, 32
  %least = call i64 @llvm.umax.i64(i64 %bytes, i64 256)
  %sane = icmp ult i64 %least, 70368744177664
  br i1 %sane, label %round, label %none
round:
  ; up to the next quarter of a power of two
  %need = add i64 %least, %margin
  %zeros0 = call i64 @llvm.ctlz.i64(i64 %need, i1 true)
  %quarter0 = sub i64 61, %zeros0
  %step = shl i64 1, %quarter0
  %ones = sub i64 %step, 1
  %up = add i64 %need, %ones
  %clear = xor i64 %ones, -1
  %size = and i64 %up, %clear
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 true)
  %power = sub i64 63, %zeros
  %quarter = sub i64 %power, 2
  %top = lshr i64 %size, %quarter
  %fourth = and i64 %top, 3
  %power4 = shl i64 %power, 2
  %bin = or i64 %power4, %fourth
  %thread = call ptr @tilewright.thread()
  %bare = icmp eq ptr %thread, null
  br i1 %bare, label %none, label %look
look:
  %at = getelementptr %thread, ptr %thread, i64 0, i32 3, i64 %bin
  %kept = load ptr, ptr %at
  %empty = icmp eq ptr %kept, null
  br i1 %empty, label %fetch, label %take
take:
  %link = getelementptr %header, ptr %kept, i64 0, i32 3
  %rest = load ptr, ptr %link
  store ptr %rest, ptr %at
  %bytes_at = getelementptr %thread, ptr %thread, i64 0, i32 2
  %before = load i64, ptr %bytes_at
  %after = sub i64 %before, %size
  store i64 %after, ptr %bytes_at
  br label %give
fetch:
  %fresh = call ptr @malloc(i64 %size)
  %failed = icmp eq ptr %fresh, null
  br i1 %failed, label %none, label %give
give:
  %base = phi ptr [%kept, %take], [%fresh, %fetch]
  %user = call ptr @tilewright.dress(ptr %base, i64 %size, i64 %bin, i64 %align)
  ret ptr %user
none:
  ret ptr null
}

define void @tilewright_free(ptr %user) {
entry:
  %null = icmp eq ptr %user, null
  br i1 %null, label %done, label %some
some:
  %header = getelementptr %header, ptr %user, i64 -1
  %base = load ptr, ptr %header
  %size_at = getelementptr %header, ptr %header, i64 0, i32 1
  %size = load i64, ptr %size_at
  %bin_at = getelementptr %header, ptr %header, i64 0, i32 2
  %bin = load i64, ptr %bin_at
  %thread = call ptr @tilewright.thread()
  %bare = icmp eq ptr %thread, null
  br i1 %bare, label %release, label %weigh
weigh:
  %bytes_at = getelementptr %thread, ptr %thread, i64 0, i32 2
  %before = load i64, ptr %bytes_at
  %after = add i64 %before, %size
  %much = icmp ugt i64 %after, LIMIT
  br i1 %much, label %release, label %keep
keep:
  store i64 %after, ptr %bytes_at
  %at = getelementptr %thread, ptr %thread, i64 0, i32 3, i64 %bin
  %rest = load ptr, ptr %at
  %link = getelementptr %header, ptr %base, i64 0, i32 3
  store ptr %rest, ptr %link
  store ptr %base, ptr %at
  br label %done
release:
  call void @free(ptr %base)
  br label %done
done:
  ret void
}

; gives the calling thread's free blocks back to the system
define void @tilewright_trim() {
entry:
  %thread = call ptr @tilewright.thread()
  %none = icmp eq ptr %thread, null
  br i1 %none, label %done, label %some
some:
  call void @tilewright.empty(ptr %thread)
  br label %done
done:
  ret void
}

; bytes that the calling thread keeps free
define i64 @tilewright_cached_bytes() {
entry:
  %thread = call ptr @tilewright.thread()
  %none = icmp eq ptr %thread, null
  br i1 %none, label %done, label %some
some:
  %bytes_at = getelementptr %thread, ptr %thread, i64 0, i32 2
  %kept = load i64, ptr %bytes_at
  br label %done
done:
  %bytes = phi i64 [0, %entry], [%kept, %some]
  ret i64 %bytes
}
"""

_PLAIN = """
define ptr @tilewright_alloc(i64 %bytes, i64 %align) {
entry:
  %room = add i64 %align, 32
  %size = add i64 %bytes, %room
  %base = call ptr @malloc(i64 %size)
  %failed = icmp eq ptr %base, null
  br i1 %failed, label %none, label %give
give:
  %user = call ptr @tilewright.dress(ptr %base, i64 %size, i64 0, i64 %align)
  ret ptr %user
none:
  ret ptr null
}

define void @tilewright_free(ptr %user) {
entry:
  %null = icmp eq ptr %user, null
  br i1 %null, label %done, label %some
some:
  %header = getelementptr %header, ptr %user, i64 -1
  %base = load ptr, ptr %header
  call void @free(ptr %base)
  br label %done
done:
  ret void
}

define void @tilewright_trim() { ret void }
define i64 @tilewright_cached_bytes() { ret i64 0 }
"""
