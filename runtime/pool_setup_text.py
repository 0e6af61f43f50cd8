"""The thread pool's settings, its state for each process, and the start of its workers, as LLVM IR text.

Part of `pool_text`, which declares what this text uses.
"""

from __future__ import annotations

SETTINGS = """
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

SETUP = """
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

START = """
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

; sets or clears the bit of a processor; tells whether that changed it
define internal i1 @tilewright.change_bit(ptr %mask, i32 %cpu, i1 %wanted) {
  %index = lshr i32 %cpu, 3
  %at = getelementptr i8, ptr %mask, i32 %index
  %bits = load i8, ptr %at
  %low = and i32 %cpu, 7
  %shift = trunc i32 %low to i8
  %bit = shl i8 1, %shift
  %with = or i8 %bits, %bit
  %others = xor i8 %bit, -1
  %without = and i8 %bits, %others
  %new = select i1 %wanted, i8 %with, i8 %without
  store i8 %new, ptr %at
  %changed = icmp ne i8 %new, %bits
  ret i1 %changed
}

; keeps a spread worker that sleeps, or waits on processor `cpu` itself, away from that, where the calling thread runs;
; gives back the one that it was kept away from so far
define internal void @tilewright.keep_away(ptr %pool, i64 %slot, i32 %cpu) {
entry:
  %mask = alloca [128 x i8], align 8
  %away_at = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 5
  %away = load i32, ptr %away_at
  %mark = add i32 %cpu, 1
  %known = icmp eq i32 %away, %mark
  br i1 %known, label %done, label %where
where:
  %sleeping = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 1
  %place_at = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 3
  %thread_at = getelementptr %pool, ptr %pool, i64 0, i32 16, i64 %slot, i32 4
  %asleep = load atomic i32, ptr %sleeping monotonic, align 4
  %place = load atomic i32, ptr %place_at monotonic, align 4
  %thread = load atomic i64, ptr %thread_at acquire, align 8
  %mode = load i32, ptr @tilewright.placement
  %sleeps = icmp ne i32 %asleep, 0
  %here = icmp eq i32 %place, %cpu
  %risky = or i1 %sleeps, %here
  %started = icmp ne i64 %thread, 0
  %spread = icmp eq i32 %mode, 1
  %numbered = icmp ult i32 %cpu, 1024
  %movable = and i1 %started, %spread
  %sensible = and i1 %risky, %numbered
  %must = and i1 %movable, %sensible
  br i1 %must, label %ask, label %done
ask:
  %failed = call i32 @pthread_getaffinity_np(i64 %thread, i64 128, ptr %mask)
  %told = icmp eq i32 %failed, 0
  br i1 %told, label %known_mask, label %done
known_mask:
  %some = icmp ne i32 %away, 0
  br i1 %some, label %give_back, label %take
give_back:
  %last = sub i32 %away, 1
  call i1 @tilewright.change_bit(ptr %mask, i32 %last, i1 true)
  br label %take
take:
  %taken = call i1 @tilewright.change_bit(ptr %mask, i32 %cpu, i1 false)
  br i1 %taken, label %change, label %done
change:
  %refused = call i32 @pthread_setaffinity_np(i64 %thread, i64 128, ptr %mask)  ; where none is left
  %moved = icmp eq i32 %refused, 0
  %now = select i1 %moved, i32 %mark, i32 %away
  store i32 %now, ptr %away_at
  br label %done
done:
  ret void
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
  call i1 @tilewright.change_bit(ptr %one, i32 %cpu1, i1 true)
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
