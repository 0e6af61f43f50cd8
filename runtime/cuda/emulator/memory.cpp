// Memory and its shadow: bounds, alignment, values never written, and races.
#include <algorithm>
#include <cstdlib>
#include <sys/mman.h>

#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

namespace tilewright {

static constexpr u64 PAGE = 4096;

// -- regions: global memory that ends at a page nobody may touch ------------------------------------------------------

static std::vector<std::unique_ptr<Shadow>> regions;
static Shadow* recent;
static Shadow arena;

static u8* map_guarded(u64 bytes, u64 alignment) {  // `bytes` from an aligned address on, nearly up to a guard page
    const u64 held = (bytes + alignment - 1) / alignment * alignment, whole = (held + PAGE - 1) / PAGE * PAGE;
    void* fresh = mmap(nullptr, whole + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED) return nullptr;
    u8* begin = static_cast<u8*>(fresh) + PAGE;
    mprotect(begin, whole, PROT_READ | PROT_WRITE);
    return begin + whole - held;
}

static void unmap_guarded(u8* begin, u64 bytes, u64 alignment) {
    const u64 held = (bytes + alignment - 1) / alignment * alignment, whole = (held + PAGE - 1) / PAGE * PAGE;
    munmap(begin + held - whole - PAGE, whole + 2 * PAGE);
}

// Gives memory full of ones, none of it valid; 0 where there is none.
TWE_API u8* twe_allocate(u64 bytes) {
    u8* begin = map_guarded(bytes, 256);
    if (!begin) return nullptr;
    auto region = std::make_unique<Shadow>();
    region->begin = begin;
    region->bytes = region->invalid_bytes = bytes;
    std::memset(begin, 0xff, bytes);
    regions.push_back(std::move(region));
    return begin;
}

TWE_API int twe_free(u8* begin) {
    for (auto& region : regions)
        if (region->begin == begin) {
            if (recent == region.get()) recent = nullptr;
            unmap_guarded(begin, region->bytes, 256);
            std::swap(region, regions.back());
            regions.pop_back();
            return 1;
        }
    return 0;
}

static Shadow* region_of(const void* p, u64 bytes) {
    const u8* at = static_cast<const u8*>(p);
    const auto inside = [&](const Shadow& s) {
        return at >= s.begin && bytes <= s.bytes && u64(at - s.begin) <= s.bytes - bytes;
    };
    if (recent && inside(*recent)) return recent;
    for (auto& region : regions)
        if (inside(*region)) return recent = region.get();
    return nullptr;
}

// Gives the bytes from `p` to the end of its region; 0 for an address outside all of them.
TWE_API u64 twe_extent(const u8* p) {
    const Shadow* region = region_of(p, 1);
    return region ? region->bytes - (p - region->begin) : 0;
}

// The host wrote these bytes, or made them unwritten again.
TWE_API void twe_mark(u8* p, u64 bytes, int valid) {
    Shadow* region = region_of(p, bytes);
    if (!region) return;
    set_valid(*region, p - region->begin, bytes, valid != 0);
    if (!valid) std::memset(p, 0xff, bytes);
}

void set_valid(Shadow& shadow, u64 offset, u64 bytes, bool valid) {
    if (shadow.invalid_bytes == (valid ? 0 : shadow.bytes)) return;
    if (bytes == shadow.bytes) {
        shadow.invalid_bytes = valid ? 0 : bytes;
        shadow.valid.clear();
        return;
    }
    if (shadow.valid.empty()) shadow.valid.assign(shadow.bytes, shadow.invalid_bytes ? 0 : 1);
    u8* flags = &shadow.valid[offset];
    const u64 changed = std::count(flags, flags + bytes, valid ? 0 : 1);
    shadow.invalid_bytes += valid ? 0 - changed : changed;
    std::memset(flags, valid, bytes);
}

void require_valid(Shadow& shadow, u64 offset, u64 bytes, int line) {
    if (!shadow.invalid_bytes) return;
    const u8* flags = shadow.valid.empty() ? nullptr : &shadow.valid[offset];
    for (u64 i = 0; i < bytes; ++i)
        if (!flags || !flags[i])
            return fail_later(line, "%s reads %d bytes at offset %llu of a buffer, which nobody has written",
                              name(self()), (int)bytes, (unsigned long long)offset);
}

void start_memory(const u64* written, int count) {
    for (auto& region : regions) {
        region->tracked = false;
        region->const_line = region->store_line = 0;
    }
    for (int i = 0; i < count; ++i)
        if (Shadow* region = region_of(reinterpret_cast<const void*>(written[i]), 1)) region->track();
}

void start_shared(u64 bytes, int blocks) {
    const u64 stride = (bytes + 1023) / 1024 * 1024 + 1024, all = stride * blocks;
    const bool grow = all > arena.bytes;
    if (grow) {
        if (arena.begin) unmap_guarded(arena.begin, arena.bytes, 1024);
        arena.begin = map_guarded(all, 1024);
        arena.bytes = all;
        arena.shared = arena.tracked = true;
    }
    if (grow || arena.shift != 2) arena.cells.assign(arena.bytes >> 2, Cell{});
    arena.shift = 2;
    machine.mbarrier_at.resize(arena.bytes >> 3);
    machine.shared = &arena;
    machine.shared_stride = stride;
}

// -- where an access goes ---------------------------------------------------------------------------------------------

void require_aligned(const void* p, u64 alignment, int line, const char* what) {
    const u64 off = reinterpret_cast<u64>(p) & (alignment - 1);
    if (__builtin_expect(off != 0, 0))
        fail(Kind::alignment, line, 0, "%s %s at an address that is %llu bytes past a multiple of %llu", name(self()),
             what, (unsigned long long)off, (unsigned long long)alignment);
}

static bool in_arena(const void* p) {
    const u8* at = static_cast<const u8*>(p);
    return at >= arena.begin - PAGE && at < arena.begin + arena.bytes + PAGE;
}

Shadow& find_shared(const void* p, u64 bytes, int line, const char* what) {
    const u8* at = static_cast<const u8*>(p);
    const u64 size = machine.request.shared_bytes;
    const long long offset = at - twe_self->shared;
    if (offset < 0 || (u64)offset + bytes > size) {
        if (!in_arena(p))
            fail(Kind::bounds, line, 0, "%s %s %d bytes that are not in shared memory", name(self()), what, (int)bytes);
        fail(Kind::bounds, line, 0, "%s %s %d bytes at shared + %lld; the block has %llu bytes", name(self()), what,
             (int)bytes, offset, (unsigned long long)size);
    }
    return arena;
}

static Shadow& out_of_bounds(const void* p, u64 bytes, int line, const char* what) {
    const u8* at = static_cast<const u8*>(p);
    const Shadow* nearest = nullptr;
    long long least = 1 << 24;  // bytes: what is farther away from a buffer has nothing to do with it
    for (auto& region : regions) {
        const long long below = region->begin - at, above = at + bytes - (region->begin + region->bytes);
        const long long distance = std::max(below, above);
        if (distance < least) least = distance, nearest = region.get();
    }
    if (nearest)
        fail(Kind::bounds, line, 0, "%s %s %d bytes at offset %lld of a buffer of %llu bytes", name(self()), what,
             (int)bytes, (long long)(at - nearest->begin), (unsigned long long)nearest->bytes);
    fail(Kind::bounds, line, 0, "%s %s %d bytes at address %p, which is in no buffer", name(self()), what, (int)bytes,
         p);
}

Shadow& find(const void* p, u64 bytes, int line, const char* what) {
    if (in_arena(p)) return find_shared(p, bytes, line, what);
    if (Shadow* region = region_of(p, bytes)) return *region;
    return out_of_bounds(p, bytes, line, what);
}

// -- sets of readers: chains that share their ends, so that equal histories are one number ----------------------------

struct Step {
    u64 set_actor, clock_line;
    u32 to, epoch;
};
static std::vector<Step> steps(1 << 12);
static u32 steps_used;

void start_reads() {
    machine.reads.assign(1, ReadNode{});  // 0 is the empty set
    steps_used = 0;
}

static u64 hash(u64 a, u64 b) {
    u64 x = a * 0x9e3779b97f4a7c15ull ^ (b + 0x7f4a7c15u) * 0xc2b2ae3d27d4eb4full;
    return x ^ x >> 29;
}

static Step& step_for(u64 set_actor, u64 clock_line) {
    const u64 mask = steps.size() - 1;
    u64 i = hash(set_actor, clock_line) & mask;
    while (steps[i].epoch == machine.epoch && (steps[i].set_actor != set_actor || steps[i].clock_line != clock_line))
        i = (i + 1) & mask;
    return steps[i];
}

static void grow_steps() {
    std::vector<Step> old(steps.size() * 2);
    old.swap(steps);
    for (const Step& step : old)
        if (step.epoch == machine.epoch) step_for(step.set_actor, step.clock_line) = step;
}

static u32 add_node(u32 parent, u32 actor, u32 clock, int line) {
    machine.reads.push_back({parent, actor, clock, 0, (u16)line});
    return (u32)machine.reads.size() - 1;
}

static u32 make_step(u32 set, const Access& a) {
    std::vector<u32> kept;  // who read at the same time: later readers stand for those that they know of
    bool all = true;
    for (u32 i = set; i; i = machine.reads[i].parent) {
        const ReadNode& node = machine.reads[i];
        if (node.actor == a.actor || a.issuer->knows(node.actor, node.clock)) all = false;
        else kept.push_back(i);
    }
    if (all) return add_node(set, a.actor, a.clock, a.line);
    u32 parent = 0;
    for (size_t i = kept.size(); i-- > 0;) {
        const ReadNode node = machine.reads[kept[i]];
        parent = add_node(parent, node.actor, node.clock, node.line);
    }
    return add_node(parent, a.actor, a.clock, a.line);
}

static u32 with_reader(u32 set, const Access& a) {
    Fiber& fiber = *a.issuer;
    const bool thread = a.actor == fiber.index;
    if (set && machine.reads[set].actor == a.actor && machine.reads[set].clock == a.clock) return set;
    Step* step = &step_for((u64)set << 32 | a.actor, (u64)a.clock << 16 | (u16)a.line);
    if (step->epoch != machine.epoch) {
        if (++steps_used * 2 > steps.size()) {
            grow_steps();
            step = &step_for((u64)set << 32 | a.actor, (u64)a.clock << 16 | (u16)a.line);
        }
        *step = {(u64)set << 32 | a.actor, (u64)a.clock << 16 | (u16)a.line, make_step(set, a), machine.epoch};
    }
    if (thread) fiber.steps[a.line & 3] = {set, step->to, a.clock, a.line};
    return step->to;
}

// -- races ------------------------------------------------------------------------------------------------------------

Access by_thread(int line) {
    Fiber& fiber = self();
    return {&fiber, fiber.index, fiber.clock, line};
}

void Shadow::track() {
    tracked = true;
    if (cells.empty()) cells.assign((bytes >> shift) + 1, Cell{});
}

void Shadow::refine(u64 offset, u64 size) {
    while ((offset | size) & ((1u << shift) - 1)) {
        std::vector<Cell> fine(cells.size() * 2);
        for (size_t i = 0; i < cells.size(); ++i) fine[2 * i] = fine[2 * i + 1] = cells[i];
        cells.swap(fine);
        --shift;
    }
}

static const char* place(const Shadow& shadow, u64 offset, u64 bytes) {
    static char text[96];
    if (shadow.shared)
        snprintf(text, sizeof text, "%d bytes at shared + %llu", (int)bytes,
                 (unsigned long long)(offset % machine.shared_stride));
    else snprintf(text, sizeof text, "%d bytes at offset %llu of a buffer", (int)bytes, (unsigned long long)offset);
    return text;
}

static const char* doer(const Access& a) {
    static char text[200];
    snprintf(text, sizeof text, "%s", name_actor(a.actor));
    return text;
}

static bool ordered(u32 actor, u32 clock, const Access& a) {
    if (!a.issuer->knows(actor, clock)) return false;
    if (a.others)
        for (const Base* base : *a.others)
            if (!base->covers(actor, clock)) return false;
    return true;
}

static bool fenced(u32 actor, u32 clock, const Access& a) {
    const Actor& writer = machine.actors[actor];
    const Fiber& owner = machine.fibers[writer.owner];
    if (writer.kind == ActorKind::thread && clock <= owner.fenced_clock) return true;
    if (writer.kind == ActorKind::copies && clock <= owner.fenced_copies) return true;
    if (writer.kind != ActorKind::thread && writer.kind != ActorKind::copies) return true;
    return a.issuer->fenced_base->covers(actor, clock);
}

static void fail_read(const Shadow& shadow, u64 offset, u64 bytes, const Cell& cell, const Access& a) {
    const char* where = place(shadow, offset, bytes);
    if (cell.write_epoch != machine.epoch)
        fail(Kind::race, a.line, cell.write_line, "%s reads %s that another block of this launch has written", doer(a),
             where);
    if (!ordered(cell.writer, cell.write_clock, a))
        fail(Kind::race, a.line, cell.write_line, "%s reads %s, written by %s, and nothing orders the two", doer(a),
             where, name_actor(cell.writer));
    fail(Kind::protocol, a.line, cell.write_line,
         "%s reads %s, written by %s without tw_fence_async before they were handed over", doer(a), where,
         name_actor(cell.writer));
}

static void read_cell(Shadow& shadow, u64 offset, u64 bytes, Cell& cell, const Access& a) {
    const u32 epoch = machine.epoch;
    if (cell.write_epoch == epoch) {
        if (!ordered(cell.writer, cell.write_clock, a) || (a.async && !fenced(cell.writer, cell.write_clock, a)))
            fail_read(shadow, offset, bytes, cell, a);
    } else if (shadow.shared) {
        fail_later(a.line, "%s reads %s, which nobody has written", doer(a), place(shadow, offset, bytes));
    } else if (cell.write_epoch >= machine.first_epoch) {
        fail_read(shadow, offset, bytes, cell, a);
    }
    if (cell.read_epoch != epoch) {
        cell.earlier = cell.read_epoch;
        cell.read_epoch = epoch;
        cell.reads = 0;
    }
    cell.reads = with_reader(cell.reads, a);
    cell.read_line = (u16)a.line;
}

void note_read(Shadow& shadow, u64 offset, u64 bytes, const Access& a) {
    shadow.refine(offset, bytes);
    Cell* cell = &shadow.cells[offset >> shadow.shift];
    Cell* end = cell + (bytes >> shadow.shift);
    for (; cell < end; ++cell) read_cell(shadow, offset, bytes, *cell, a);
}

// The same for one thread, where nearly always the last step of the same line is the one to take again.
static void note_read_by_thread(Shadow& shadow, u64 offset, u64 bytes, int line) {
    if (__builtin_expect((offset | bytes) & ((1u << shadow.shift) - 1), 0)) shadow.refine(offset, bytes);
    Fiber& fiber = self();
    const Base& base = *fiber.base.get();
    const u32 epoch = machine.epoch;
    Cell* cell = &shadow.cells[offset >> shadow.shift];
    Cell* end = cell + (bytes >> shadow.shift);
    for (; cell < end; ++cell) {
        const Fiber::Step& step = fiber.steps[line & 3];
        const bool taken = cell->reads == step.from && step.clock == fiber.clock && step.line == line;
        const bool known = cell->writer == fiber.index || base.covers(cell->writer, cell->write_clock);
        if (__builtin_expect(taken && known && cell->write_epoch == epoch && cell->read_epoch == epoch, 1)) {
            cell->reads = step.to;
            cell->read_line = (u16)line;
        } else {
            read_cell(shadow, offset, bytes, *cell, by_thread(line));
        }
    }
}

static void require_readers_done(const Shadow& shadow, u64 offset, u64 bytes, Cell& cell, const Access& a) {
    if (cell.read_epoch < machine.first_epoch) return;
    const bool earlier = cell.read_epoch == machine.epoch && cell.earlier >= machine.first_epoch;
    if (!shadow.shared && (cell.read_epoch != machine.epoch || earlier))
        fail(Kind::race, a.line, cell.read_line, "%s writes %s that another block of this launch reads", doer(a),
             place(shadow, offset, bytes));
    if (cell.read_epoch != machine.epoch || !cell.reads) return;
    ReadNode& head = machine.reads[cell.reads];
    if (head.covered == a.issuer->base->serial) return;
    bool by_base = true;
    for (u32 i = cell.reads; i; i = machine.reads[i].parent) {
        const ReadNode& node = machine.reads[i];
        by_base = by_base && a.issuer->base->covers(node.actor, node.clock);
        if (!a.issuer->knows(node.actor, node.clock))
            fail(Kind::race, a.line, node.line, "%s writes %s, read by %s, and nothing orders the two", doer(a),
                 place(shadow, offset, bytes), name_actor(node.actor));
    }
    if (by_base) head.covered = a.issuer->base->serial;
}

static bool same_value(const Shadow& shadow, const Cell* cell, u64 offset, const void* value) {
    const u64 at = (u64)(cell - shadow.cells.data()) << shadow.shift;
    return value &&
           std::memcmp(shadow.begin + at, static_cast<const u8*>(value) + (at - offset), 1u << shadow.shift) == 0;
}

// Threads may write the same value to one place without an order: the nest's loops over redundant threads mean that.
static void require_writer_done(const Shadow& shadow, u64 offset, u64 bytes, const Cell& cell, const Access& a,
                                const void* value) {
    if (cell.write_epoch < machine.first_epoch) return;
    if (cell.write_epoch != machine.epoch) {
        if (shadow.shared || same_value(shadow, &cell, offset, value)) return;
        fail(Kind::race, a.line, cell.write_line, "%s writes %s, and another block of this launch writes another value",
             doer(a), place(shadow, offset, bytes));
    }
    if (a.issuer->knows(cell.writer, cell.write_clock)) return;
    if (machine.actors[cell.writer].kind == ActorKind::thread && same_value(shadow, &cell, offset, value)) return;
    fail(Kind::race, a.line, cell.write_line, "%s writes %s, written by %s, and nothing orders the two", doer(a),
         place(shadow, offset, bytes), name_actor(cell.writer));
}

void note_write(Shadow& shadow, u64 offset, u64 bytes, const Access& a, const void* value) {
    shadow.refine(offset, bytes);
    Cell* cell = &shadow.cells[offset >> shadow.shift];
    Cell* end = cell + (bytes >> shadow.shift);
    for (; cell < end; ++cell) {
        require_writer_done(shadow, offset, bytes, *cell, a, value);
        require_readers_done(shadow, offset, bytes, *cell, a);
        cell->writer = a.actor;
        cell->write_clock = a.clock;
        cell->write_epoch = machine.epoch;
        cell->write_line = (u16)a.line;
        cell->reads = 0;
    }
}

// -- what kernels call ------------------------------------------------------------------------------------------------

TWE_API void twe_check_load(const void* p, int bytes, int line) {
    require_aligned(p, bytes, line, "reads");
    Shadow& shadow = find(p, bytes, line, "reads");
    const u64 offset = static_cast<const u8*>(p) - shadow.begin;
    if (!shadow.shared) require_valid(shadow, offset, bytes, line);
    if (shadow.tracked) note_read_by_thread(shadow, offset, bytes, line);
}

TWE_API void twe_check_load_const(const void* p, int bytes, int line) {
    require_aligned(p, bytes, line, "reads");
    Shadow& shadow = find(p, bytes, line, "reads");
    if (shadow.shared) fail(Kind::bounds, line, 0, "%s reads shared memory with tw_load_const", name(self()));
    const u64 offset = static_cast<const u8*>(p) - shadow.begin;
    require_valid(shadow, offset, bytes, line);
    if (!shadow.tracked) return;
    shadow.const_line = line;
    if (shadow.store_line)
        fail(Kind::race, line, shadow.store_line, "%s reads with tw_load_const a buffer that this launch writes",
             name(self()));
}

TWE_API void twe_check_store(void* p, int bytes, const void* value, int line) {
    require_aligned(p, bytes, line, "writes");
    Shadow& shadow = find(p, bytes, line, "writes");
    const u64 offset = static_cast<u8*>(p) - shadow.begin;
    if (!shadow.tracked) shadow.track();
    note_write(shadow, offset, bytes, by_thread(line), value);
    if (shadow.shared) return;
    if (shadow.const_line)
        fail(Kind::race, line, shadow.const_line, "%s writes a buffer that this launch reads with tw_load_const",
             name(self()));
    shadow.store_line = line;
    set_valid(shadow, offset, bytes);
}

TWE_API void twe_poisoned(int line) {
    fail_later(line,
               "%s stores a value computed from memory never written, or from accumulators of a wgmma still in flight",
               name(self()));
}

}  // namespace tilewright
