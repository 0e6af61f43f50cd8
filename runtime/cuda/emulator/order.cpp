// What threads know of each other: clocks, barriers, and instructions for which a warp or a warpgroup meets.
#include <algorithm>
#include <cstdlib>

#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

namespace tilewright {

// -- bases ------------------------------------------------------------------------------------------------------------

static u64 bases_made = 0, gatherings = 0;

static Base* new_base(u32 width) {
    auto* base = static_cast<Base*>(std::malloc(sizeof(Base) + width * sizeof(u32)));
    base->references = 1;
    base->width = width;
    base->serial = ++bases_made;
    base->gathered = 0;
    return base;
}

void Known::drop() {
    if (base_ && --base_->references == 0) std::free(base_);
}

void Gather::take(const Base* base) {
    if (!serial) serial = ++gatherings;
    if (base->gathered == serial) return;
    const_cast<Base*>(base)->gathered = serial;
    if (clock.size() < base->width) clock.resize(base->width, 0);
    for (u32 i = 0; i < base->width; ++i) clock[i] = std::max(clock[i], base->clock[i]);
}

void Gather::set(u32 actor, u32 at) {
    if (clock.size() <= actor) clock.resize(actor + 1, 0);
    clock[actor] = std::max(clock[actor], at);
}

void Gather::take(Fiber& fiber) {
    take(fiber.base.get());
    set(fiber.index, fiber.clock++);
    if (fiber.copies.actor != NOBODY) set(fiber.copies.actor, fiber.copies.retired);
    if (fiber.stores.actor != NOBODY) set(fiber.stores.actor, fiber.stores.retired);
}

Known Gather::finish() {
    Base* base = new_base((u32)clock.size());
    std::copy(clock.begin(), clock.end(), base->clock);
    std::fill(clock.begin(), clock.end(), 0);
    serial = 0;
    return Known(base);
}

Known joined(const Known& a, const Known& b) {
    if (!b || a.get() == b.get()) return a;
    const u32 width = std::max(a->width, b->width);
    Base* base = new_base(width);
    for (u32 i = 0; i < width; ++i)
        base->clock[i] = std::max(i < a->width ? a->clock[i] : 0, i < b->width ? b->clock[i] : 0);
    return Known(base);
}

Known with(const Known& a, u32 actor, u32 at) {
    Base* base = new_base(std::max(a->width, actor + 1));
    std::copy(a->clock, a->clock + a->width, base->clock);
    std::fill(base->clock + a->width, base->clock + base->width, 0);
    base->clock[actor] = std::max(base->clock[actor], at);
    return Known(base);
}

u32 new_actor(ActorKind kind, u32 owner) {
    machine.actors.push_back({kind, owner});
    return (u32)machine.actors.size() - 1;
}

// -- barriers ---------------------------------------------------------------------------------------------------------

static void arrive(Barrier& barrier, int threads, bool waits, Wait wait, int line) {
    Fiber& fiber = self();
    barrier.line = line;
    barrier.threads = threads;
    barrier.gather.take(fiber);
    if (++barrier.arrived < threads) {
        if (!waits) return;
        barrier.waiting.push_back(fiber.index);
        return suspend(wait, line);
    }
    const Known all = barrier.gather.finish();
    for (u32 index : barrier.waiting) {
        machine.fibers[index].base = all;
        wake(index);
    }
    if (waits) fiber.base = all;
    barrier.waiting.clear();
    barrier.arrived = 0;
}

static void require_same_line(const Barrier& barrier, int line, const char* what) {
    if (barrier.arrived && barrier.line != line)
        fail(Kind::divergence, line, barrier.line, "%s comes to one %s barrier, and %s waits at another", name(self()),
             what, name(machine.fibers[barrier.waiting[0]]));
}

static int lanes_of(int warp) { return std::min(WARP, machine.threads - warp * WARP); }

TWE_API void twe_barrier(int line) {
    Barrier& barrier = block_of(self()).barrier;
    require_same_line(barrier, line, "block");
    arrive(barrier, machine.threads, true, Wait::block, line);
}

TWE_API void twe_barrier_warp(int line) {
    const int warp = warp_of(self());
    Barrier& barrier = block_of(self()).warp_barriers[warp];
    require_same_line(barrier, line, "warp");
    arrive(barrier, lanes_of(warp), true, Wait::warp, line);
}

TWE_API void twe_barrier_cluster(int line) {
    require_same_line(machine.cluster_barrier, line, "cluster");
    arrive(machine.cluster_barrier, machine.threads * machine.blocks, true, Wait::cluster, line);
}

TWE_API void twe_barrier_named(int id, int threads, int waits, int line) {
    if (id < 1 || id > 15) fail(Kind::protocol, line, 0, "there is no named barrier %d: they go from 1 to 15", id);
    if (threads % WARP || threads < WARP || threads > machine.threads)
        fail(Kind::protocol, line, 0, "named barrier %d is for %d threads: not whole warps of a block of %d", id,
             threads, machine.threads);
    Barrier& barrier = block_of(self()).named[id];
    if (barrier.arrived && barrier.threads != threads)
        fail(Kind::divergence, line, barrier.line, "named barrier %d is for %d threads here, and for %d there", id,
             threads, barrier.threads);
    arrive(barrier, threads, waits != 0, Wait::named, line);
}

// -- collectives ------------------------------------------------------------------------------------------------------

static void meet(Collective& collective, int threads, int place, const char* what, void* operand, int line, Wait wait,
                 void (*act)(Collective&, int), int argument, u32 first) {
    if (collective.arrived && (collective.line != line || collective.what != what))
        fail(Kind::divergence, line, collective.line, "%s comes to %s, and others of its warp wait at %s", name(self()),
             what, collective.what);
    collective.what = what;
    collective.line = line;
    collective.operand[place] = operand;
    if (++collective.arrived < threads) return suspend(wait, line);
    collective.arrived = 0;
    act(collective, argument);
    for (u32 index = first; index < first + threads; ++index) wake(index);
}

void meet_warp(const char* what, void* operand, int line, void (*act)(Collective&, int lanes)) {
    Fiber& fiber = self();
    const int warp = warp_of(fiber), lane = lane_of(fiber), lanes = lanes_of(warp);
    meet(block_of(fiber).warps[warp], lanes, lane, what, operand, line, Wait::warp, act, lanes, fiber.index - lane);
}

void meet_warpgroup(const char* what, void* operand, int line, void (*act)(Collective&, int group)) {
    Fiber& fiber = self();
    const int thread = (int)(fiber.index % machine.threads), group = thread / WARPGROUP, place = thread % WARPGROUP;
    if ((group + 1) * WARPGROUP > machine.threads)
        fail(Kind::protocol, line, 0, "%s is no part of a whole warpgroup of 128 threads", name(fiber));
    meet(block_of(fiber).warpgroups[group], WARPGROUP, place, what, operand, line, Wait::warpgroup, act, group,
         fiber.index - place);
}

struct Shuffled {
    u8* value;
    int bytes, kind, argument, line;
};

static void act_shuffle(Collective& collective, int lanes) {
    u8 before[WARP][8];
    for (int lane = 0; lane < lanes; ++lane) {
        const auto& operand = *static_cast<Shuffled*>(collective.operand[lane]);
        std::memcpy(before[lane], operand.value, operand.bytes);
    }
    for (int lane = 0; lane < lanes; ++lane) {
        const auto& operand = *static_cast<Shuffled*>(collective.operand[lane]);
        int source = operand.kind == 0   ? lane ^ operand.argument
                     : operand.kind == 1 ? lane + operand.argument
                                         : operand.argument & (WARP - 1);
        if (operand.kind != 2 && (source < 0 || source >= WARP)) source = lane;
        if (source >= lanes) {
            fail(Kind::uninitialised, operand.line, 0, "lane %d takes a value from lane %d of a warp of %d threads",
                 lane, source, lanes);
        }
        std::memcpy(operand.value, before[source], operand.bytes);
    }
}

TWE_API void twe_shuffle(void* value, int bytes, int kind, int argument, int line) {
    Shuffled operand = {static_cast<u8*>(value), bytes, kind, argument, line};
    meet_warp("a shuffle", &operand, line, act_shuffle);
}

}  // namespace tilewright
