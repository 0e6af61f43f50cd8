"""The thread pool as LLVM IR text.

One job at a time.  The caller takes the lock, writes the job, gives each worker it wants a new ticket, runs part 0
itself and waits until no part is pending.  Workers and caller both spin for a bounded time and then sleep on a futex.

    caller                                    worker i
    lock, or run serially                     wait until the ticket in mailbox i changes
    job = (body, env, count, parts)           run part i of the job
    pending = parts - 1                       pending -= 1; the last one wakes a sleeping caller
    ticket of workers 1 .. parts-1 += 1
    run part 0, wait until pending = 0
    unlock

A worker that has no part in a job never looks at it, so a job's fields are stable while anybody reads them.
A sleeper announces itself before it looks at its word a last time, and a waker writes the word before it looks for
sleepers, both sequentially consistent: a wake-up cannot be lost.

All state is one mapping marked MADV_WIPEONFORK: a forked child finds zeros, that is an unlocked pool without workers,
and starts its own on first use.  Where the kernel does not know the mark, the process id is compared instead.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    text = _STATE + _SETTINGS + _SETUP + _START + _WORKER + _WAIT + _PARTS + _PARALLEL_FOR
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
; ticket, sleeping; two cache lines, so that neighbours are not fetched in pairs
%mailbox = type { i32, i32, [120 x i8] }
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

_SETTINGS = """
define void @tilewright_set_num_threads(i32 %threads) {
  call i32 @pthread_once(ptr @tilewright.once, ptr @tilewright.setup)
  %some = call i32 @llvm.smax.i32(i32 %threads, i32 1)
  %most = call i32 @llvm.smin.i32(i32 %some, i32 MAX_THREADS)
  store atomic i32 %most, ptr @tilewright.threads monotonic, align 4
  ret void
}

define void @tilewright_set_placement(i32 %placement) {
  store i32 %placement, ptr @tilewright.placement
  ret void
}

define void @tilewright_set_grain(i64 %grain) {
  store i64 %grain, ptr @tilewright.grain
  ret void
}

; threads for a job of the calling thread: its own number if one is set, else everybody's
define i32 @tilewright_get_num_threads() {
entry:
  call i32 @pthread_once(ptr @tilewright.once, ptr @tilewright.setup)
  %thread = call ptr @tilewright.thread_if_any()
  %none = icmp eq ptr %thread, null
  br i1 %none, label %everybody, label %look
look:
  %own = load i32, ptr %thread
  %unset = icmp eq i32 %own, 0
  br i1 %unset, label %everybody, label %mine
mine:
  ret i32 %own
everybody:
  %all = load atomic i32, ptr @tilewright.threads monotonic, align 4
  ret i32 %all
}

; runs a packed kernel whose loops use `threads` threads, whatever is set
define i32 @tilewright_call(ptr %kernel, ptr %argv, i32 %threads) {
entry:
  %thread = call ptr @tilewright.thread()
  %failed = icmp eq ptr %thread, null
  br i1 %failed, label %plain, label %limited
plain:
  %status1 = call i32 %kernel(ptr %argv)
  ret i32 %status1
limited:
  %most = call i32 @llvm.smin.i32(i32 %threads, i32 MAX_THREADS)
  %before = load i32, ptr %thread
  store i32 %most, ptr %thread
  %status2 = call i32 %kernel(ptr %argv)
  store i32 %before, ptr %thread
  ret i32 %status2
}

; translates microseconds into pauses, by the fastest of three runs of 512 pauses
define void @tilewright_set_spin_us(i32 %us) {
entry:
  %from = alloca %timespec
  %to = alloca %timespec
  store i32 %us, ptr @tilewright.spin_us
  br label %run
run:
  %n = phi i64 [0, %entry], [%n1, %ran]
  %best = phi i64 [1000000000, %entry], [%best1, %ran]
  call i32 @clock_gettime(i32 1, ptr %from)
  br label %pause
pause:
  %i = phi i64 [0, %run], [%i1, %pause]
  PAUSE
  %i1 = add i64 %i, 1
  %again = icmp ult i64 %i1, 512
  br i1 %again, label %pause, label %ran
ran:
  call i32 @clock_gettime(i32 1, ptr %to)
  %ns = call i64 @tilewright.elapsed_ns(ptr %from, ptr %to)
  %best1 = call i64 @llvm.smin.i64(i64 %best, i64 %ns)
  %n1 = add i64 %n, 1
  %more = icmp ult i64 %n1, 3
  br i1 %more, label %run, label %done
done:
  %us64 = sext i32 %us to i64
  %pauses = mul i64 %us64, 512000
  %cost = add i64 %best1, 1
  %spins = sdiv i64 %pauses, %cost
  store atomic i64 %spins, ptr @tilewright.spins monotonic, align 8
  ret void
}
"""

_SETUP = """
define internal void @tilewright.setup() {
entry:
  %null = getelementptr %pool, ptr null, i64 1
  %size = ptrtoint ptr %null to i64
  %us = load i32, ptr @tilewright.spin_us
  call void @tilewright_set_spin_us(i32 %us)
  call void @tilewright.create_key()
  %threads = call i32 @tilewright.default_threads()
  store i32 %threads, ptr @tilewright.threads
  %pool = call ptr @mmap(ptr null, i64 %size, i32 3, i32 34, i32 -1, i64 0)  ; read and write; private, anonymous
  %failed = icmp eq ptr %pool, inttoptr (i64 -1 to ptr)
  br i1 %failed, label %done, label %mark
mark:
  %refused = call i32 @madvise(ptr %pool, i64 %size, i32 18)  ; MADV_WIPEONFORK
  %wiped = icmp eq i32 %refused, 0
  store i1 %wiped, ptr @tilewright.wiped
  %pid = call i32 @getpid()
  store i32 %pid, ptr @tilewright.owner
  store ptr %pool, ptr @tilewright.pool
  br label %done
done:
  ret void
}

; the state of this process, or null
define internal ptr @tilewright.own_pool() {
entry:
  %pool = load ptr, ptr @tilewright.pool
  %wiped = load i1, ptr @tilewright.wiped
  br i1 %wiped, label %ours, label %check
check:
  %pid = call i32 @getpid()
  %owner = load i32, ptr @tilewright.owner
  %same = icmp eq i32 %pid, %owner
  %none = icmp eq ptr %pool, null
  %keep = or i1 %same, %none
  br i1 %keep, label %ours, label %empty
empty:
  %null = getelementptr %pool, ptr null, i64 1
  %size = ptrtoint ptr %null to i64
  call void @llvm.memset.p0.i64(ptr %pool, i8 0, i64 %size, i1 false)
  store i32 %pid, ptr @tilewright.owner
  br label %ours
ours:
  ret ptr %pool
}

; the environment's wish, else the processors this process may run on
define internal i32 @tilewright.default_threads() {
entry:
  %mask = alloca [128 x i8], align 8
  %text = call ptr @getenv(ptr @tilewright.variable)
  %unset = icmp eq ptr %text, null
  br i1 %unset, label %affinity, label %read
read:
  %wish = call i64 @strtol(ptr %text, ptr null, i32 10)
  %valid = icmp sgt i64 %wish, 0
  br i1 %valid, label %wished, label %affinity
wished:
  %most = call i64 @llvm.smin.i64(i64 %wish, i64 MAX_THREADS)
  %threads = trunc i64 %most to i32
  ret i32 %threads
affinity:
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 128, i1 false)
  call i32 @sched_getaffinity(i32 0, i64 128, ptr %mask)
  br label %byte
byte:
  %i = phi i64 [0, %affinity], [%i1, %byte]
  %sum = phi i32 [0, %affinity], [%sum1, %byte]
  %at = getelementptr i8, ptr %mask, i64 %i
  %bits = load i8, ptr %at
  %count = call i8 @llvm.ctpop.i8(i8 %bits)
  %wide = zext i8 %count to i32
  %sum1 = add i32 %sum, %wide
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, 128
  br i1 %more, label %byte, label %counted
counted:
  %some = call i32 @llvm.smax.i32(i32 %sum1, i32 1)
  %few = call i32 @llvm.smin.i32(i32 %some, i32 MAX_THREADS)
  ret i32 %few
}
"""

_START = """
; starts workers until there are `threads` threads with the caller; gives how many there are, at most `threads`
define internal i32 @tilewright.start(ptr %pool, i32 %threads) {
entry:
  %id = alloca i64
  %blocked = alloca [128 x i8], align 8
  %before = alloca [128 x i8], align 8
  %started = getelementptr %pool, ptr %pool, i64 0, i32 13
  %n0 = load i32, ptr %started
  %have0 = add i32 %n0, 1
  %enough = icmp sge i32 %have0, %threads
  br i1 %enough, label %ready, label %prepare
ready:
  ret i32 %threads
prepare:
  ; signals are for the program's own threads, but for those that a fault raises in its own thread
  call i32 @sigfillset(ptr %blocked)
  call i32 @sigdelset(ptr %blocked, i32 4)
  call i32 @sigdelset(ptr %blocked, i32 7)
  call i32 @sigdelset(ptr %blocked, i32 8)
  call i32 @sigdelset(ptr %blocked, i32 11)
  call i32 @pthread_sigmask(i32 2, ptr %blocked, ptr %before)
  %cpu = call i32 @sched_getcpu()
  %home = getelementptr %pool, ptr %pool, i64 0, i32 14
  store i32 %cpu, ptr %home
  br label %create
create:
  %n = phi i32 [%n0, %prepare], [%n1, %created]
  %n1 = add i32 %n, 1
  %number = zext i32 %n1 to i64
  %argument = inttoptr i64 %number to ptr
  %failed = call i32 @pthread_create(ptr %id, ptr null, ptr @tilewright.worker, ptr %argument)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %created, label %stop
created:
  %thread = load i64, ptr %id
  call i32 @pthread_detach(i64 %thread)
  store i32 %n1, ptr %started
  %have = add i32 %n1, 1
  %less = icmp slt i32 %have, %threads
  br i1 %less, label %create, label %stop
stop:
  call i32 @pthread_sigmask(i32 2, ptr %before, ptr null)
  %last = load i32, ptr %started
  %all = add i32 %last, 1
  ret i32 %all
}

; moves the calling worker to the number-th processor after the caller's, among those allowed; spread workers may
; leave it again
define internal void @tilewright.place(ptr %pool, i64 %number) {
entry:
  %allowed = alloca [128 x i8], align 8
  %one = alloca [128 x i8], align 8
  %mode = load i32, ptr @tilewright.placement
  %free = icmp eq i32 %mode, 0
  br i1 %free, label %done, label %ask
ask:
  call void @llvm.memset.p0.i64(ptr %allowed, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr %one, i8 0, i64 128, i1 false)
  %home_at = getelementptr %pool, ptr %pool, i64 0, i32 14
  %home = load i32, ptr %home_at
  %answer = call i32 @sched_getaffinity(i32 0, i64 128, ptr %allowed)
  %known = icmp sge i32 %answer, 0
  br i1 %known, label %step, label %done
step:
  %cpu = phi i32 [%home, %ask], [%cpu1, %step]
  %left = phi i64 [%number, %ask], [%left1, %step]
  %next = add i32 %cpu, 1
  %cpu1 = and i32 %next, 1023
  %index = lshr i32 %cpu1, 3
  %at = getelementptr i8, ptr %allowed, i32 %index
  %bits = load i8, ptr %at
  %low = and i32 %cpu1, 7
  %shift = trunc i32 %low to i8
  %moved = lshr i8 %bits, %shift
  %set = and i8 %moved, 1
  %wide = zext i8 %set to i64
  %left1 = sub i64 %left, %wide
  %more = icmp ne i64 %left1, 0
  br i1 %more, label %step, label %found
found:
  %to = getelementptr i8, ptr %one, i32 %index
  %bit = shl i8 1, %shift
  store i8 %bit, ptr %to
  call i32 @sched_setaffinity(i32 0, i64 128, ptr %one)
  %spread = icmp eq i32 %mode, 1
  br i1 %spread, label %release, label %done
release:
  call i32 @sched_setaffinity(i32 0, i64 128, ptr %allowed)
  br label %done
done:
  ret void
}
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
  %pending = getelementptr %pool, ptr %pool, i64 0, i32 2
  %caller_sleeping = getelementptr %pool, ptr %pool, i64 0, i32 3
  call void @tilewright.place(ptr %pool, i64 %number)
  br label %wait
wait:
  %seen = phi i32 [0, %entry], [%new, %again]
  %new = call i32 @tilewright.wait_while(ptr %ticket, i32 %seen, ptr %sleeping)
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
  br label %post
post:
  %i = phi i64 [0, %publish], [%i1, %posted]
  %ticket = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 0
  %sleeping = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %i, i32 1
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
  call void @tilewright.join(ptr %pool)
  %status = load i32, ptr %status_at
  store atomic i32 0, ptr %lock release, align 4
  ret i32 %status
}
"""
