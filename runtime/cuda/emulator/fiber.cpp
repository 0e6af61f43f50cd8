// Threads as fibers: switching between them, the order in which they run, and what ends a run.
#include <csignal>
#include <cstdlib>
#include <sys/mman.h>
#include <utility>

#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

TWE_API twe_identity* twe_self;
twe_identity* twe_self = nullptr;

#if defined(__x86_64__) && !defined(TWE_UCONTEXT)
// Saves the registers that a call preserves, and the stack pointer; takes up those of the other stack.
extern "C" __attribute__((visibility("hidden"))) void twe_switch(void** save, void* load);
asm(R"(
.text
.hidden twe_switch
.globl twe_switch
.type twe_switch, @function
twe_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size twe_switch, .-twe_switch
)");
static void* new_context(char* top, int, void (*start)()) {
    void** stack = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15)) - 8;
    for (int i = 0; i < 6; ++i) stack[i] = nullptr;
    stack[6] = reinterpret_cast<void*>(start);  // where twe_switch returns to, with the stack as after a call
    stack[7] = nullptr;
    return stack;
}
static void start_on_main() {}
#else
#include <ucontext.h>
static std::vector<std::unique_ptr<ucontext_t>> contexts;
static ucontext_t main_context;
static ucontext_t* running;
static void start_on_main() { running = &main_context; }  // whatever the last run was left in
static void twe_switch(void** save, void* load) {
    *save = running;
    ucontext_t* from = running;
    running = static_cast<ucontext_t*>(load);
    swapcontext(from, running);
}
static void* new_context(char* top, int index, void (*start)()) {
    while ((int)contexts.size() <= index) contexts.push_back(std::make_unique<ucontext_t>());
    ucontext_t* context = contexts[index].get();
    getcontext(context);
    context->uc_stack.ss_sp = top - (96 << 10);
    context->uc_stack.ss_size = 96 << 10;
    context->uc_link = nullptr;
    makecontext(context, start, 0);
    return context;
}
#endif

namespace tilewright {

Machine machine;

static void (*kernel)(void* const*);
static void* const* kernel_arguments;
static void* main_stack;
sigjmp_buf end_of_run;
static int last_line;  // at which a thread was suspended

// -- stacks: each with a page below that nobody may touch -------------------------------------------------------------

constexpr size_t STACK = 128 << 10, PAGE = 4096;

static char* stack_top(size_t index) {
    static std::vector<char*> stacks;
    while (stacks.size() <= index) {
        void* fresh = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (fresh == MAP_FAILED) fail(Kind::crash, 0, 0, "no memory for the stack of thread %zu", index);
        mprotect(fresh, PAGE, PROT_NONE);
        stacks.push_back(static_cast<char*>(fresh));
    }
    return stacks[index] + STACK - (index % 16) * 1088;  // apart in the cache
}

// -- signals ----------------------------------------------------------------------------------------------------------

static void on_signal(int number) { siglongjmp(end_of_run, number); }

static constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction previous[4];

static void catch_signals(bool on) {
    static char alternate[64 << 10];
    static stack_t previous_stack;
    if (on) {
        stack_t stack = {};
        stack.ss_sp = alternate;
        stack.ss_size = sizeof alternate;
        sigaltstack(&stack, &previous_stack);
    } else {
        sigaltstack(&previous_stack, nullptr);
    }
    for (int i = 0; i < 4; ++i) {
        struct sigaction action = {};
        action.sa_handler = on_signal;
        action.sa_flags = SA_ONSTACK;
        if (on) sigaction(SIGNALS[i], &action, &previous[i]);
        else sigaction(SIGNALS[i], &previous[i], nullptr);
    }
}

// -- order ------------------------------------------------------------------------------------------------------------

enum Order { FORWARD, REVERSE, RANDOM, LOW_WARPS, HIGH_WARPS };

u64 next_random() {
    u64& x = machine.random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static int next_from(int start) {  // the first ready fiber from `start` on, or around the end
    const auto& ready = machine.ready;
    const int words = (int)ready.size(), word = start >> 6;
    if (u64 bits = ready[word] & (~0ull << (start & 63))) return word << 6 | __builtin_ctzll(bits);
    for (int i = 1; i <= words; ++i) {
        const int w = (word + i) % words;
        if (ready[w]) return w << 6 | __builtin_ctzll(ready[w]);
    }
    return -1;
}

static int last_to(int start) {  // the same downwards
    const auto& ready = machine.ready;
    const int words = (int)ready.size(), word = start >> 6;
    if (u64 bits = ready[word] & (~0ull >> (63 - (start & 63)))) return word << 6 | (63 - __builtin_clzll(bits));
    for (int i = 1; i <= words; ++i) {
        const int w = (word - i + words) % words;
        if (ready[w]) return w << 6 | (63 - __builtin_clzll(ready[w]));
    }
    return -1;
}

static int pick(int current) {
    const int count = (int)machine.fibers.size();
    switch (machine.request.order) {
        case FORWARD: return next_from((current + 1) % count);
        case REVERSE: return last_to((current + count - 1) % count);
        case RANDOM: return next_from((int)(next_random() % count));
        case LOW_WARPS: return next_from(0);
        default: return last_to(count - 1);
    }
}

// Gives the fiber that goes on, once there is one.
static Fiber& next_fiber(int current) {
    int next;
    while ((next = pick(current)) < 0)
        if (!finish_a_copy()) fail_stuck();
    return machine.fibers[next];
}

static void run_thread();

static void go_on_with(Fiber& fiber, void** save) {
    if (!fiber.stack_pointer) fiber.stack_pointer = new_context(stack_top(fiber.index), (int)fiber.index, run_thread);
    twe_self = &fiber;
    twe_switch(save, fiber.stack_pointer);
}

static void stop(Fiber& fiber, Wait wait, int line, u32 object) {
    fiber.wait = wait;
    fiber.wait_line = last_line = line;
    fiber.wait_object = object;
    machine.ready[fiber.index >> 6] &= ~(1ull << (fiber.index & 63));
}

void suspend(Wait wait, int line, u32 object) {
    Fiber& fiber = self();
    stop(fiber, wait, line, object);
    Fiber& next = next_fiber((int)fiber.index);
    if (&next != &fiber) go_on_with(next, &fiber.stack_pointer);
}

void wake(u32 index) {
    machine.fibers[index].wait = Wait::none;
    machine.ready[index >> 6] |= 1ull << (index & 63);
}

// Runs one thread to its end, and on the same stack those that come next and have none yet.
static void run_thread() {
    for (;;) {
        kernel(kernel_arguments);
        Fiber& fiber = self();
        --block_of(fiber).live;
        --machine.live;
        finish_thread(fiber);
        stop(fiber, Wait::done, 0, 0);
        if (machine.live == 0) break;
        Fiber& next = next_fiber((int)fiber.index);
        if (next.stack_pointer) go_on_with(next, &fiber.stack_pointer);
        next.stack_pointer = stack_top(fiber.index);  // not where it stands, but that it has begun
        twe_self = &next;
    }
    twe_switch(&self().stack_pointer, main_stack);
}

// -- a cluster, and all of them ---------------------------------------------------------------------------------------

static void reset(Block& block, const int index[3], int rank) {
    std::memcpy(block.index, index, sizeof block.index);
    block.shared = machine.shared->begin + rank * machine.shared_stride;
    std::memset(block.shared, 0xff, machine.request.shared_bytes);
    const int warps = (machine.threads + WARP - 1) / WARP, groups = (machine.threads + WARPGROUP - 1) / WARPGROUP;
    block.live = machine.threads;
    block.barrier = Barrier();
    for (Barrier& named : block.named) named = Barrier();
    block.warps.assign(warps, Collective());
    block.warp_barriers.assign(warps, Barrier());
    block.warpgroups.assign(groups, Collective());
    block.products.assign(groups, Warpgroup());
    block.arrivals.clear();
    block.ended = Gather();
}

static void reset(Fiber& fiber, u32 index, const int at[3], const Block& block, int rank, const Known& nothing) {
    const Request& request = machine.request;
    fiber = Fiber();
    std::memcpy(fiber.thread, at, sizeof fiber.thread);
    std::memcpy(fiber.block, block.index, sizeof fiber.block);
    std::memcpy(fiber.grid, request.grid, sizeof fiber.grid);
    fiber.rank = rank;
    fiber.shared = block.shared;
    fiber.index = index;
    fiber.base = fiber.fenced_base = nothing;
    machine.actors.push_back({ActorKind::thread, index});
    wake(index);
}

static void start_cluster(const int first[3]) {
    ++machine.epoch;
    machine.actors.clear();
    machine.mbarriers.clear();
    machine.in_flight.clear();
    machine.cluster_barrier = Barrier();
    std::fill(machine.mbarrier_at.begin(), machine.mbarrier_at.end(), 0);
    start_reads();
    machine.live = machine.threads * machine.blocks;
    machine.fibers.resize(machine.live);
    machine.cluster.resize(machine.blocks);
    machine.ready.assign((machine.live + 63) / 64, 0);
    const int* size = machine.request.cluster;
    const Known nothing = Gather().finish();
    for (int rank = 0; rank < machine.blocks; ++rank) {
        const int index[3] = {first[0] + rank % size[0], first[1] + rank / size[0] % size[1],
                              first[2] + rank / (size[0] * size[1])};
        reset(machine.cluster[rank], index, rank);
        u32 fiber = rank * machine.threads;
        int at[3];
        for (at[2] = 0; at[2] < machine.request.block[2]; ++at[2])
            for (at[1] = 0; at[1] < machine.request.block[1]; ++at[1])
                for (at[0] = 0; at[0] < machine.request.block[0]; ++at[0], ++fiber)
                    reset(machine.fibers[fiber], fiber, at, machine.cluster[rank], rank, nothing);
    }
}

static void run_cluster(u64 number) {
    const Request& request = machine.request;
    const u64 along[2] = {(u64)(request.grid[0] / request.cluster[0]), (u64)(request.grid[1] / request.cluster[1])};
    const int first[3] = {(int)(number % along[0]) * request.cluster[0],
                          (int)(number / along[0] % along[1]) * request.cluster[1],
                          (int)(number / (along[0] * along[1])) * request.cluster[2]};
    start_cluster(first);
    go_on_with(next_fiber((int)machine.fibers.size() - 1), &main_stack);
    if (machine.fault->kind == 0 && !machine.in_flight.empty()) {
        machine.fault->kind = (int)Kind::protocol;
        machine.fault->line = machine.in_flight[0].line;
        snprintf(machine.fault->fact, sizeof machine.fault->fact, "the block ends while a TMA load is in flight");
    }
    twe_self = nullptr;
}

static void run_clusters() {
    const Request& request = machine.request;
    u64 count = 1;
    for (int i = 0; i < 3; ++i) count *= request.grid[i] / request.cluster[i];
    const bool down = request.order == REVERSE || request.order == HIGH_WARPS;
    std::vector<u64> order(count);
    for (u64 i = 0; i < count; ++i) order[i] = down ? count - 1 - i : i;
    if (request.order == RANDOM)
        for (u64 i = count; i > 1; --i) std::swap(order[i - 1], order[next_random() % i]);
    for (u64 number : order) {
        run_cluster(number);
        if (machine.fault->kind && !machine.deferred) return;
    }
}

void start_shared(u64 bytes, int blocks);
void start_memory(const u64* written, int count);

static const char* signal_name(int number) {
    switch (number) {
        case SIGFPE: return "an integer division by zero";
        case SIGILL: return "an unreachable statement";
        default: return "an access to memory that is not there, or a thread that needs more than 128 KiB of stack";
    }
}

// Runs all blocks of one launch; gives the kind of the fault, or 0.  `written`: addresses that pointers to what may be
// written hold.
TWE_API int twe_run(void (*entry)(void* const*), void* const* arguments, const Request* request, const u64* written,
                    int written_count, Fault* fault) {
    std::memset(fault, 0, sizeof *fault);
    machine.request = *request;
    machine.fault = fault;
    machine.threads = request->block[0] * request->block[1] * request->block[2];
    machine.blocks = request->cluster[0] * request->cluster[1] * request->cluster[2];
    machine.random = request->seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull;
    machine.first_epoch = machine.epoch + 1;
    machine.deferred = false;
    kernel = entry;
    kernel_arguments = arguments;
    start_shared(request->shared_bytes, machine.blocks);
    start_memory(written, written_count);
    start_on_main();
    catch_signals(true);
    if (const int number = sigsetjmp(end_of_run, 1)) {
        if (!machine.deferred && number > 0) {
            fault->kind = (int)Kind::crash;
            fault->line = last_line;
            snprintf(fault->fact, sizeof fault->fact, "%s met %s (signal %d)", twe_self ? name(self()) : "the emulator",
                     signal_name(number), number);
        }
    } else {
        run_clusters();
    }
    catch_signals(false);
    twe_self = nullptr;
    return fault->kind;
}

}  // namespace tilewright
