"""The thread pool as LLVM IR text.

One job at a time.  The caller takes the lock, writes the job, gives each worker it wants a new ticket, runs part 0
itself and waits until no part is pending.  Workers and caller both spin for a bounded time and then sleep on a futex.

    caller                                    worker i
    lock, or run serially                     wait until the ticket in mailbox i changes
    job = (body, env, count, parts)           claim part i, or wait again
    pending = parts - 1                       run part i of the job
    claim and ticket of each worker += 1      pending -= 1; the last one wakes a sleeping caller
    run part 0
    claim and run the parts that no worker has begun
    wait until pending = 0, unlock

A part is claimed by its ticket, and only once: a worker that has no processor, or is still waking up, loses its part to
the caller, which never waits for anybody who has not begun.  A worker without a claim never looks at the job, so the
fields of a job are stable while anybody reads them.
Systems wake threads where their waker runs, or pack them onto few processors, and a caller never lets its own go:
spread workers are kept away from it.
A sleeper announces itself before it looks at its word a last time, and a waker writes the word before it looks for
sleepers, both sequentially consistent: a wake-up cannot be lost.

All state is one mapping marked MADV_WIPEONFORK: a forked child finds zeros, that is an unlocked pool without workers,
and starts its own on first use.  Where the kernel does not know the mark, the process id is compared instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from .pool_setup_text import SETTINGS, SETUP, START

MAX_THREADS = 256


@dataclass(frozen=True, slots=True)
class Machine:
    """What the pool must know of a processor: how to ask for a futex and how to pause in a spin loop."""

    futex: int  # number of the system call
    pause: str  # instruction
    declare: str


LINUX = {
    "x86_64": Machine(202, "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": Machine(98, "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}


def pool_text(machine: Machine) -> str:
    """Give the pool for Linux on `machine`; needs `@tilewright.thread` of the allocator's text."""
    text = _STATE + SETTINGS + SETUP + START + _WORKER + _WAIT + _PARTS + _PARALLEL_FOR
    text = text.replace("MAX_THREADS", str(MAX_THREADS)).replace("FUTEX", str(machine.futex))
    return text.replace("PAUSE", machine.pause) + machine.declare + "\n"


SERIAL_TEXT = """
define i32 @tilewright_parallel_for(ptr %body, ptr %env, i64 %count) {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %run, label %none
run:
  %status = call i32 %body(ptr %env, i64 0, i64 %count)
  ret i32 %status
none:
  ret i32 0
}
define i32 @tilewright_call(ptr %kernel, ptr %argv, i32 %threads) {
  %status = call i32 %kernel(ptr %argv)
  ret i32 %status
}
define i32 @tilewright_get_num_threads() { ret i32 1 }
define void @tilewright_set_num_threads(i32 %threads) { ret void }
define void @tilewright_set_spin_us(i32 %us) { ret void }
define void @tilewright_set_placement(i32 %placement) { ret void }
define void @tilewright_set_grain(i64 %grain) { ret void }
"""
"""The pool where there are no futexes: every loop runs in the calling thread."""


_STATE = """
; 0 ticket, 1 sleeping, 2 claim: the ticket, or its complement once the part is claimed, 3 where it was when it began to
; wait, 4 its thread, 5 one more than the processor that it is kept away from; two cache lines, so that neighbours are
; not fetched in pairs
%mailbox = type { i32, i32, i32, i32, i64, i32, [100 x i8] }
; 0 lock | 2 pending, 3 caller sleeping | 5 next | 7 body, 8 env, 9 count, 10 grain, 11 parts, 12 status,
; 13 started, 14 caller's cpu | 16 mailboxes
%pool = type { i32, [124 x i8], i32, i32, [120 x i8], i64, [120 x i8], ptr, ptr, i64, i64, i32, i32, i32, i32, \
[80 x i8], [MAX_THREADS x %mailbox] }
%timespec = type { i64, i64 }

@tilewright.pool = internal global ptr null
@tilewright.once = internal global i32 0
@tilewright.wiped = internal global i1 false      ; the kernel empties the state in forked children
@tilewright.owner = internal global i32 0         ; process that the state belongs to, where it does not
@tilewright.threads = internal global i32 0       ; threads of a job; 0 until set
@tilewright.spins = internal global i64 0         ; pauses before sleeping
@tilewright.spin_us = internal global i32 50
@tilewright.placement = internal global i32 1     ; of workers: 0 left to the system, 1 spread, 2 pinned
@tilewright.grain = internal global i64 0         ; iterations per claim; 0 for one equal share for each thread
@tilewright.variable = private constant [23 x i8] c"TILEWRIGHT_NUM_THREADS\\00"

declare i32 @pthread_once(ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i64 @pthread_self()
declare i32 @pthread_getaffinity_np(i64, i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i32 @sched_getcpu()
declare i32 @sched_yield()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i64 @syscall(i64, ...)
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @madvise(ptr, i64, i32)
declare i32 @getpid()
declare ptr @getenv(ptr)
declare i64 @strtol(ptr, ptr, i32)
declare i32 @clock_gettime(i32, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i8 @llvm.ctpop.i8(i8)
declare i64 @llvm.smin.i64(i64, i64)
declare i32 @llvm.smin.i32(i32, i32)
declare i32 @llvm.smax.i32(i32, i32)
"""


_WORKER = """
define internal ptr @tilewright.worker(ptr %argument) {
entry:
  %number = ptrtoint ptr %argument to i64
  %part = trunc i64 %number to i32
  %slot = sub i64 %number, 1
  %pool = load ptr, ptr @tilewright.pool
  %ticket = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 0
  %sleeping = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 1
  %claim = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 2
  %pending = getelementptr %pool, ptr %pool, i64 0, i32 2
  %caller_sleeping = getelementptr %pool, ptr %pool, i64 0, i32 3
  %place = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 3
  %thread = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 4
  call void @tilewright.place(ptr %pool, i64 %number)
  %self = call i64 @pthread_self()
  store atomic i64 %self, ptr %thread release, align 8
  br label %wait
wait:
  %seen = phi i32 [0, %entry], [%new, %again]
  %cpu = call i32 @sched_getcpu()
  store atomic i32 %cpu, ptr %place monotonic, align 4
  %new = call i32 @tilewright.wait_while(ptr %ticket, i32 %seen, ptr %sleeping)
  %mine = call i1 @tilewright.claim(ptr %claim, i32 %new)
  br i1 %mine, label %run, label %again
run:
  call void @tilewright.run_part(ptr %pool, i32 %part)
  %before = atomicrmw sub ptr %pending, i32 1 seq_cst
  %last = icmp eq i32 %before, 1
  br i1 %last, label %look, label %again
look:
  %asleep = load atomic i32, ptr %caller_sleeping seq_cst, align 4
  %must = icmp ne i32 %asleep, 0
  br i1 %must, label %wake, label %again
wake:
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %pending, i32 129, i32 1, ptr null, ptr null, i32 0)
  br label %again
again:
  br label %wait
}
"""

_WAIT = """
; waits while the word is `old`, gives its new value; `sleeping` is 1 while the futex may be waited for
define internal i32 @tilewright.wait_while(ptr %word, i32 %old, ptr %sleeping) {
entry:
  %spins = load atomic i64, ptr @tilewright.spins monotonic, align 8
  br label %spin
spin:
  %i = phi i64 [0, %entry], [%i1, %count]
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %old
  br i1 %same, label %pause, label %changed
pause:
  PAUSE
  %i1 = add i64 %i, 1
  %phase = and i64 %i1, 127
  %polite = icmp eq i64 %phase, 0
  br i1 %polite, label %yield, label %count
yield:
  call i32 @sched_yield()  ; the thread waited for may be ready to run on this very processor
  br label %count
count:
  %more = icmp slt i64 %i1, %spins
  br i1 %more, label %spin, label %announce
announce:
  store atomic i32 1, ptr %sleeping seq_cst, align 4
  br label %look
look:
  %last = load atomic i32, ptr %word seq_cst, align 4
  %still = icmp eq i32 %last, %old
  br i1 %still, label %sleep, label %awake
sleep:
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i32 128, i32 %old, ptr null, ptr null, i32 0)
  br label %look
awake:
  store atomic i32 0, ptr %sleeping seq_cst, align 4
  br label %changed
changed:
  %value = phi i32 [%now, %spin], [%last, %awake]
  ret i32 %value
}

define internal void @tilewright.join(ptr %pool) {
entry:
  %pending = getelementptr %pool, ptr %pool, i64 0, i32 2
  %sleeping = getelementptr %pool, ptr %pool, i64 0, i32 3
  %left0 = load atomic i32, ptr %pending acquire, align 4
  br label %test
test:
  %left = phi i32 [%left0, %entry], [%left1, %wait]
  %some = icmp ne i32 %left, 0
  br i1 %some, label %wait, label %done
wait:
  %left1 = call i32 @tilewright.wait_while(ptr %pending, i32 %left, ptr %sleeping)
  br label %test
done:
  ret void
}
"""

_PARTS = """
; tells whether a part was still to be had, which from now on it is not
define internal i1 @tilewright.claim(ptr %claim, i32 %ticket) {
  %taken = xor i32 %ticket, -1
  %attempt = cmpxchg ptr %claim, i32 %ticket, i32 %taken acq_rel monotonic
  %mine = extractvalue { i32, i1 } %attempt, 1
  ret i1 %mine
}

; runs the parts of the first workers that have not begun
define internal void @tilewright.take_back(ptr %pool, i64 %workers) {
entry:
  %pending = getelementptr %pool, ptr %pool, i64 0, i32 2
  br label %look
look:
  %i = phi i64 [0, %entry], [%i1, %next]
  %i1 = add i64 %i, 1
  %ticket_at = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 0
  %claim = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 2
  %ticket = load atomic i32, ptr %ticket_at monotonic, align 4
  %now = load atomic i32, ptr %claim monotonic, align 4
  %open = icmp eq i32 %now, %ticket
  br i1 %open, label %try, label %next
try:
  %mine = call i1 @tilewright.claim(ptr %claim, i32 %ticket)
  br i1 %mine, label %run, label %next
run:
  %part = trunc i64 %i1 to i32
  call void @tilewright.run_part(ptr %pool, i32 %part)
  atomicrmw sub ptr %pending, i32 1 acq_rel
  br label %next
next:
  %more = icmp ult i64 %i1, %workers
  br i1 %more, label %look, label %done
done:
  ret void
}

define internal void @tilewright.run_part(ptr %pool, i32 %part) {
entry:
  %body_at = getelementptr %pool, ptr %pool, i64 0, i32 7
  %env_at = getelementptr %pool, ptr %pool, i64 0, i32 8
  %count_at = getelementptr %pool, ptr %pool, i64 0, i32 9
  %grain_at = getelementptr %pool, ptr %pool, i64 0, i32 10
  %parts_at = getelementptr %pool, ptr %pool, i64 0, i32 11
  %status_at = getelementptr %pool, ptr %pool, i64 0, i32 12
  %next_at = getelementptr %pool, ptr %pool, i64 0, i32 5
  %body = load ptr, ptr %body_at
  %env = load ptr, ptr %env_at
  %count = load i64, ptr %count_at
  %grain = load i64, ptr %grain_at
  %parts = load i32, ptr %parts_at
  %equal = icmp eq i64 %grain, 0
  br i1 %equal, label %share, label %claim
share:
  %p = zext i32 %part to i64
  %n = zext i32 %parts to i64
  %each = udiv i64 %count, %n
  %over = urem i64 %count, %n
  %early = call i64 @llvm.smin.i64(i64 %p, i64 %over)  ; the first `over` parts take one more
  %even = mul i64 %p, %each
  %begin0 = add i64 %even, %early
  %longer = icmp ult i64 %p, %over
  %extra = zext i1 %longer to i64
  %size = add i64 %each, %extra
  %end0 = add i64 %begin0, %size
  br label %run
claim:
  %begin1 = atomicrmw add ptr %next_at, i64 %grain monotonic
  %any = icmp slt i64 %begin1, %count
  br i1 %any, label %claimed, label %done
claimed:
  %far = add i64 %begin1, %grain
  %end1 = call i64 @llvm.smin.i64(i64 %far, i64 %count)
  br label %run
run:
  %begin = phi i64 [%begin0, %share], [%begin1, %claimed]
  %end = phi i64 [%end0, %share], [%end1, %claimed]
  %status = call i32 %body(ptr %env, i64 %begin, i64 %end)
  %bad = icmp ne i32 %status, 0
  br i1 %bad, label %report, label %go_on
report:
  %ignored = cmpxchg ptr %status_at, i32 0, i32 %status monotonic monotonic
  br label %done
go_on:
  br i1 %equal, label %done, label %claim
done:
  ret void
}
"""

_PARALLEL_FOR = """
define i32 @tilewright_parallel_for(ptr %body, ptr %env, i64 %count) {
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %begin, label %nothing
nothing:
  ret i32 0
begin:
  %wish = call i32 @tilewright_get_num_threads()
  %wish64 = sext i32 %wish to i64
  %useful = call i64 @llvm.smin.i64(i64 %wish64, i64 %count)
  %threads = trunc i64 %useful to i32
  %many = icmp sgt i32 %threads, 1
  br i1 %many, label %pooled, label %serial
serial:
  %alone = call i32 %body(ptr %env, i64 0, i64 %count)
  ret i32 %alone
pooled:
  %pool = call ptr @tilewright.own_pool()
  %none = icmp eq ptr %pool, null
  br i1 %none, label %serial, label %try
try:
  %lock = getelementptr %pool, ptr %pool, i64 0, i32 0
  %attempt = cmpxchg ptr %lock, i32 0, i32 1 acquire monotonic
  %taken = extractvalue { i32, i1 } %attempt, 1
  br i1 %taken, label %gather, label %serial  ; another job is running: nested, or another thread's
gather:
  %parts = call i32 @tilewright.start(ptr %pool, i32 %threads)
  %enough = icmp sgt i32 %parts, 1
  br i1 %enough, label %publish, label %unlock
unlock:
  store atomic i32 0, ptr %lock release, align 4
  br label %serial
publish:
  %pending = getelementptr %pool, ptr %pool, i64 0, i32 2
  %next_at = getelementptr %pool, ptr %pool, i64 0, i32 5
  %body_at = getelementptr %pool, ptr %pool, i64 0, i32 7
  %env_at = getelementptr %pool, ptr %pool, i64 0, i32 8
  %count_at = getelementptr %pool, ptr %pool, i64 0, i32 9
  %grain_at = getelementptr %pool, ptr %pool, i64 0, i32 10
  %parts_at = getelementptr %pool, ptr %pool, i64 0, i32 11
  %status_at = getelementptr %pool, ptr %pool, i64 0, i32 12
  %grain = load i64, ptr @tilewright.grain
  %others = sub i32 %parts, 1
  store i64 0, ptr %next_at
  store ptr %body, ptr %body_at
  store ptr %env, ptr %env_at
  store i64 %count, ptr %count_at
  store i64 %grain, ptr %grain_at
  store i32 %parts, ptr %parts_at
  store i32 0, ptr %status_at
  store atomic i32 %others, ptr %pending release, align 4
  %last = zext i32 %others to i64
  %cpu = call i32 @sched_getcpu()
  br label %post
post:
  %i = phi i64 [0, %publish], [%i1, %posted]
  %ticket = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 0
  %sleeping = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 1
  %claim = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 2
  %before = load atomic i32, ptr %ticket monotonic, align 4
  call void @tilewright.keep_away(ptr %pool, i64 %i, i32 %cpu)
  %number = add i32 %before, 1
  store atomic i32 %number, ptr %claim monotonic, align 4
  atomicrmw add ptr %ticket, i32 1 seq_cst
  %asleep = load atomic i32, ptr %sleeping seq_cst, align 4
  %must = icmp ne i32 %asleep, 0
  br i1 %must, label %wake, label %posted
wake:
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %ticket, i32 129, i32 1, ptr null, ptr null, i32 0)
  br label %posted
posted:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %last
  br i1 %more, label %post, label %work
work:
  call void @tilewright.run_part(ptr %pool, i32 0)
  call void @tilewright.take_back(ptr %pool, i64 %last)
  call void @tilewright.join(ptr %pool)
  %status = load i32, ptr %status_at
  store atomic i32 0, ptr %lock release, align 4
  ret i32 %status
}
"""
