// What a fault says: who, where, and what of.
#include <cstdarg>

#include "machine.h"

namespace tilewright {

// -- faults -----------------------------------------------------------------------------------------------------------

static void describe(Kind kind, int line, int other_line, const char* format, va_list values) {
    Fault& fault = *machine.fault;
    fault.kind = static_cast<int>(kind);
    fault.line = line;
    fault.other_line = other_line;
    if (twe_self) {
        std::memcpy(fault.block, twe_self->block, sizeof fault.block);
        std::memcpy(fault.thread, twe_self->thread, sizeof fault.thread);
    }
    vsnprintf(fault.fact, sizeof fault.fact, format, values);
}

void fail(Kind kind, int line, int other_line, const char* format, ...) {
    if (!machine.deferred || kind == Kind::race) {  // what follows from a value never written is no news
        va_list values;
        va_start(values, format);
        describe(kind, line, other_line, format, values);
        va_end(values);
    }
    siglongjmp(end_of_run, -1);
}

void fail_later(int line, const char* format, ...) {
    if (machine.deferred) return;
    machine.deferred = true;
    va_list values;
    va_start(values, format);
    describe(Kind::uninitialised, line, 0, format, values);
    va_end(values);
}

// -- names ------------------------------------------------------------------------------------------------------------

const char* name(const Fiber& f) {
    static char texts[4][96];
    static int next = 0;
    char* text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "thread (%d, %d, %d) of block (%d, %d, %d)", f.thread[0], f.thread[1], f.thread[2],
             f.block[0], f.block[1], f.block[2]);
    return text;
}

const char* name_actor(u32 index) {
    static char text[160];
    const Actor& actor = machine.actors[index];
    switch (actor.kind) {
        case ActorKind::thread: return name(machine.fibers[actor.owner]);
        case ActorKind::copies: snprintf(text, sizeof text, "cp.async of %s", name(machine.fibers[actor.owner])); break;
        case ActorKind::stores:
            snprintf(text, sizeof text, "TMA store of %s", name(machine.fibers[actor.owner]));
            break;
        case ActorKind::mbarrier: {
            const Mbarrier& m = machine.mbarriers[actor.owner];
            snprintf(text, sizeof text, "TMA load that signals the mbarrier at shared + %d", m.offset);
            break;
        }
        case ActorKind::warpgroup: {
            const Fiber& first = machine.fibers[actor.owner];
            snprintf(text, sizeof text, "wgmma of the warpgroup of %s", name(first));
            break;
        }
        case ActorKind::barrier_object: snprintf(text, sizeof text, "the mbarrier that lies there"); break;
    }
    return text;
}

// -- threads that nothing wakes ---------------------------------------------------------------------------------------

static const char* waiting_for(Wait wait) {
    switch (wait) {
        case Wait::block: return "at a barrier of the block";
        case Wait::named: return "at a named barrier";
        case Wait::warp: return "for its warp";
        case Wait::cluster: return "at a barrier of the cluster";
        case Wait::mbarrier: return "for a phase of an mbarrier";
        case Wait::warpgroup: return "for its warpgroup";
        default: return "nowhere";
    }
}

static bool same_group(const Fiber& a, const Fiber& b) {  // whether a waits for b, too
    switch (a.wait) {
        case Wait::block: return a.rank == b.rank;
        case Wait::warp: return a.rank == b.rank && warp_of(a) == warp_of(b);
        case Wait::warpgroup: return a.rank == b.rank && warp_of(a) / 4 == warp_of(b) / 4;
        case Wait::cluster: return true;
        default: return false;
    }
}

[[noreturn]] void fail_stuck() {
    const Fiber *first = nullptr, *counted = nullptr;
    for (const Fiber& fiber : machine.fibers) {
        if (fiber.wait == Wait::done) continue;
        if (!first) first = &fiber;
        if (!counted && (fiber.wait == Wait::mbarrier || fiber.wait == Wait::named)) counted = &fiber;
        for (const Fiber& other : machine.fibers)
            if (other.wait == Wait::done && same_group(fiber, other)) {
                twe_self = const_cast<Fiber*>(&fiber);
                fail(Kind::divergence, fiber.wait_line, 0, "%s waits %s, and %s has ended", name(fiber),
                     waiting_for(fiber.wait), name(other));
            }
    }
    const Fiber& shown = counted ? *counted : *first;
    twe_self = const_cast<Fiber*>(&shown);
    const Fiber* other = nullptr;
    int alike = 0;
    for (const Fiber& fiber : machine.fibers) {
        if (fiber.wait == shown.wait && fiber.wait_line == shown.wait_line) ++alike;
        else if (fiber.wait != Wait::done && (!other || (!same_group(shown, *other) && same_group(shown, fiber))))
            other = &fiber;
    }
    char missing[120] = "", rest[200] = "";
    if (shown.wait == Wait::mbarrier) {
        const Mbarrier& m = machine.mbarriers[shown.wait_object];
        snprintf(missing, sizeof missing, " (the one at shared + %d lacks %d of %d arrivals and %lld bytes)", m.offset,
                 m.pending, m.count, m.bytes);
    }
    if (other) snprintf(rest, sizeof rest, "; %s waits %s", name(*other), waiting_for(other->wait));
    fail(counted ? Kind::deadlock : Kind::divergence, shown.wait_line, other ? other->wait_line : 0,
         "%s waits %s%s, with %d more, and nothing can go on%s", name(shown), waiting_for(shown.wait), missing,
         alike - 1, rest);
}

}  // namespace tilewright
