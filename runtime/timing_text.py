"""Timing, cache sweeping and memory streaming as LLVM IR text.

The timing loop calls through a pointer that it loads afresh, volatile, each time: a compiler that saw the callee would
notice that the second call writes what the first wrote, and drop one.
"""

from __future__ import annotations


def timing_text(clock: int) -> str:
    """Give the functions for timing on a system whose monotonic clock has the number `clock`."""
    return _TIMING.replace("CLOCK", str(clock))


CLOCKS = {"linux": 1, "darwin": 6}  # CLOCK_MONOTONIC

ELAPSED = """
define internal i64 @tilewright.elapsed_ns(ptr %from, ptr %to) {
  %from_ns_at = getelementptr %timespec, ptr %from, i64 0, i32 1
  %to_ns_at = getelementptr %timespec, ptr %to, i64 0, i32 1
  %s0 = load i64, ptr %from
  %s1 = load i64, ptr %to
  %ns0 = load i64, ptr %from_ns_at
  %ns1 = load i64, ptr %to_ns_at
  %s = sub i64 %s1, %s0
  %ns = sub i64 %ns1, %ns0
  %whole = mul i64 %s, 1000000000
  %elapsed = add i64 %whole, %ns
  ret i64 %elapsed
}
"""

_TIMING = """
; calls a packed kernel `number` times; gives nanoseconds, or minus the first non-zero status.  `threads` as in
; @tilewright_call, or 0 for what is set
define i64 @tilewright_time(ptr %kernel, ptr %argv, i64 %number, i32 %threads) {
entry:
  %slot = alloca ptr
  %from = alloca %timespec
  %to = alloca %timespec
  store volatile ptr %kernel, ptr %slot
  %limited = icmp sgt i32 %threads, 0
  call i32 @clock_gettime(i32 CLOCK, ptr %from)
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i1, %next]
  %more = icmp slt i64 %i, %number
  br i1 %more, label %run, label %done
run:
  %target = load volatile ptr, ptr %slot
  br i1 %limited, label %few, label %usual
few:
  %status1 = call i32 @tilewright_call(ptr %target, ptr %argv, i32 %threads)
  br label %next
usual:
  %status2 = call i32 %target(ptr %argv)
  br label %next
next:
  %status = phi i32 [%status1, %few], [%status2, %usual]
  %i1 = add i64 %i, 1
  %ok = icmp eq i32 %status, 0
  br i1 %ok, label %loop, label %failed
failed:
  %wide = zext i32 %status to i64
  %negative = sub i64 0, %wide
  ret i64 %negative
done:
  call i32 @clock_gettime(i32 CLOCK, ptr %to)
  %ns = call i64 @tilewright.elapsed_ns(ptr %from, ptr %to)
  ret i64 %ns
}

; runs `call(kernel, argv, threads)`, the @tilewright_call of another library, from four slots
define i32 @tilewright_call_there(ptr %slots) {
  %kernel_at = getelementptr i64, ptr %slots, i64 1
  %argv_at = getelementptr i64, ptr %slots, i64 2
  %threads_at = getelementptr i64, ptr %slots, i64 3
  %call = load ptr, ptr %slots
  %kernel = load ptr, ptr %kernel_at
  %argv = load ptr, ptr %argv_at
  %threads = load i32, ptr %threads_at
  %status = call i32 %call(ptr %kernel, ptr %argv, i32 %threads)
  ret i32 %status
}

; writes one word in every 64 bytes, so that nothing else stays in the caches
define void @tilewright_sweep(ptr %buffer, i64 %bytes) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i1, %line]
  %more = icmp slt i64 %i, %bytes
  br i1 %more, label %line, label %done
line:
  %at = getelementptr i8, ptr %buffer, i64 %i
  %old = load volatile i64, ptr %at
  %new = add i64 %old, 1
  store volatile i64 %new, ptr %at
  %i1 = add i64 %i, 64
  br label %loop
done:
  ret void
}
"""
