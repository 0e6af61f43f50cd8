// Asynchronous copies: cp.async in groups, tensor copies that signal mbarriers, and the mbarriers themselves.
#include <algorithm>

#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

namespace tilewright {

static bool latest() { return machine.request.latest != 0; }

// -- cp.async ---------------------------------------------------------------------------------------------------------

static void perform(const CopyItem& copy) {
    std::memcpy(copy.shared, copy.global, copy.valid);
    std::memset(copy.shared + copy.valid, 0, copy.bytes - copy.valid);
}

TWE_API void twe_cp_async(u8* shared, const u8* global, int bytes, int valid, int line) {
    Fiber& fiber = self();
    if (valid < 0 || valid > bytes)
        fail(Kind::protocol, line, 0, "%s copies %d valid bytes of %d", name(fiber), valid, bytes);
    require_aligned(shared, bytes, line, "copies with cp.async to shared memory");
    Shadow& to = find_shared(shared, bytes, line, "copies with cp.async");
    if (valid) {
        require_aligned(global, bytes, line, "copies with cp.async");
        Shadow& from = find(global, valid, line, "copies with cp.async");
        if (from.shared) fail(Kind::bounds, line, 0, "%s copies with cp.async from shared memory", name(fiber));
        require_valid(from, global - from.begin, valid, line);
        if (from.tracked) note_read(from, global - from.begin, valid, by_thread(line));
    }
    if (fiber.copies.actor == NOBODY) fiber.copies.actor = new_actor(ActorKind::copies, fiber.index);
    const u32 group = fiber.copies.committed + 1;
    note_write(to, shared - to.begin, bytes, {&fiber, fiber.copies.actor, group, line}, nullptr);
    const CopyItem copy = {shared, global, bytes, valid};
    if (latest()) fiber.copies.pending.push_back({group, copy});
    else perform(copy);
}

template <class Item>
static void retire(Groups<Item>& groups, int left, void (*act)(const Item&)) {
    if ((u32)left >= groups.committed) return;
    groups.retired = std::max(groups.retired, groups.committed - (u32)left);
    size_t done = 0;
    while (done < groups.pending.size() && groups.pending[done].first <= groups.retired)
        act(groups.pending[done++].second);
    groups.pending.erase(groups.pending.begin(), groups.pending.begin() + done);
}

TWE_API void twe_cp_async_commit(int) { ++self().copies.committed; }
TWE_API void twe_cp_async_wait(int groups, int) { retire(self().copies, groups, perform); }

// -- mbarriers --------------------------------------------------------------------------------------------------------

static u32& mbarrier_slot(u64 arena_offset) { return machine.mbarrier_at[arena_offset >> 3]; }

// Gives the number of an mbarrier that this thread may use: initialised, and it knows of that.
static u32 find_mbarrier(const u8* barrier, int rank, int line, const char* what, bool needs_fence) {
    Fiber& fiber = self();
    require_aligned(barrier, 8, line, what);
    find_shared(barrier, 8, line, what);
    const u64 offset = barrier - fiber.shared;
    const u32 number = mbarrier_slot(rank * machine.shared_stride + offset);
    if (!number)
        fail(Kind::protocol, line, 0, "%s %s the mbarrier at shared + %llu, and nobody has initialised it", name(fiber),
             what, (unsigned long long)offset);
    const Mbarrier& m = machine.mbarriers[number - 1];
    if (!fiber.knows(m.initialiser, m.init_clock))
        fail(Kind::protocol, line, m.line,
             "%s %s the mbarrier at shared + %llu, and nothing orders that after its "
             "initialisation by %s",
             name(fiber), what, (unsigned long long)offset, name(machine.fibers[m.initialiser]));
    if (needs_fence && !m.fenced)
        fail(Kind::protocol, line, m.line,
             "%s %s the mbarrier at shared + %llu, without tw_mbar_fence_init after its "
             "initialisation",
             name(fiber), what, (unsigned long long)offset);
    if (machine.cluster[rank].live == 0)
        fail(Kind::protocol, line, m.line, "%s %s an mbarrier of block %d of the cluster, which has ended", name(fiber),
             what, rank);
    return number - 1;
}

TWE_API void twe_mbar_init(u8* barrier, int arrivals, int line) {
    Fiber& fiber = self();
    require_aligned(barrier, 8, line, "initialises an mbarrier");
    Shadow& shadow = find_shared(barrier, 8, line, "initialises an mbarrier of");
    if (arrivals < 1 || arrivals >= 1 << 20)
        fail(Kind::protocol, line, 0, "%s initialises an mbarrier for %d arrivals", name(fiber), arrivals);
    const u64 offset = barrier - shadow.begin;
    note_write(shadow, offset, 8, by_thread(line), nullptr);
    const u32 number = (u32)machine.mbarriers.size();
    Mbarrier m{};
    m.block = fiber.rank;
    m.offset = (int)(barrier - fiber.shared);
    m.count = m.pending = arrivals;
    m.initialiser = fiber.index;
    m.init_clock = fiber.clock++;
    m.line = line;
    m.actor = new_actor(ActorKind::mbarrier, number);
    machine.mbarriers.push_back(std::move(m));
    mbarrier_slot(offset) = number + 1;
    const u32 object = new_actor(ActorKind::barrier_object, number);
    for (u64 i = offset >> shadow.shift; i < (offset + 8) >> shadow.shift; ++i) {
        shadow.cells[i].writer = object;  // what loads or stores here has no order with it, ever
        shadow.cells[i].write_clock = NEVER;
    }
}

static void fence_mbarriers(const Fiber& fiber) {
    for (Mbarrier& m : machine.mbarriers)
        if (m.initialiser == fiber.index) m.fenced = true;
}

TWE_API void twe_mbar_fence_init(int) { fence_mbarriers(self()); }

TWE_API void twe_fence_async(int) {
    Fiber& fiber = self();
    fiber.fenced_clock = fiber.clock++;
    fiber.fenced_copies = fiber.copies.retired;
    fiber.fenced_base = fiber.base;
    fence_mbarriers(fiber);
}

static void complete_phase(Mbarrier& m, int line) {
    if (m.pending) return;
    if (m.bytes < 0)
        fail(Kind::protocol, line, m.line,
             "%lld bytes more have come to the mbarrier at shared + %d than were expected in "
             "phase %u",
             -m.bytes, m.offset, m.phase);
    if (m.bytes) return;
    ++m.phase;
    m.pending = m.count;
    m.gather.set(m.actor, m.done_up_to);
    if (m.completed) m.gather.take(m.completed.get());
    m.completed = m.gather.finish();
    for (u32 index : m.waiting) wake(index);
    m.waiting.clear();
}

static void arrive(Mbarrier& m, long long bytes, int line) {
    Fiber& fiber = self();
    if (m.pending == 0)
        fail(Kind::protocol, line, m.line,
             "%s arrives at the mbarrier at shared + %d, after all %d arrivals of phase %u", name(fiber), m.offset,
             m.count, m.phase);
    m.bytes += bytes;
    if (bytes < 0 || m.bytes >= 1 << 20)
        fail(Kind::protocol, line, m.line, "the mbarrier at shared + %d expects %lld bytes", m.offset, m.bytes);
    m.gather.take(fiber);
    --m.pending;
    complete_phase(m, line);
}

TWE_API void twe_mbar_arrive(u8* barrier, int expected_bytes, int line) {
    const u32 number = find_mbarrier(barrier, self().rank, line, "arrives at", false);
    arrive(machine.mbarriers[number], expected_bytes, line);
}

TWE_API void twe_mbar_arrive_cluster(u8* barrier, int rank, int line) {
    if (rank < 0 || rank >= machine.blocks)
        fail(Kind::protocol, line, 0, "%s arrives in block %d of a cluster of %d", name(self()), rank, machine.blocks);
    const u32 number = find_mbarrier(barrier, rank, line, "arrives at", rank != self().rank);
    if (rank != self().rank) machine.cluster[rank].arrivals.push_back({self().index, self().clock, line});
    arrive(machine.mbarriers[number], 0, line);
}

TWE_API void twe_mbar_wait(u8* barrier, int parity, int line) {
    Fiber& fiber = self();
    const u32 number = find_mbarrier(barrier, fiber.rank, line, "waits for", false);
    if (parity != 0 && parity != 1) fail(Kind::protocol, line, 0, "%s waits for parity %d", name(fiber), parity);
    if ((int)(machine.mbarriers[number].phase & 1) == parity) {
        machine.mbarriers[number].waiting.push_back(fiber.index);
        suspend(Wait::mbarrier, line, number);
    }
    Mbarrier& m = machine.mbarriers[number];
    if (!m.completed) return;
    if (m.join_of.get() != fiber.base.get() || m.join_with.get() != m.completed.get()) {
        m.join_of = fiber.base;
        m.join_with = m.completed;
        m.join = joined(fiber.base, m.completed);
    }
    fiber.base = m.join;
}

// -- tensor copies ----------------------------------------------------------------------------------------------------

constexpr u64 MAGIC = 0x7470616D776C6974ull;

static Box box_of(const void* map, u8* shared, int rank, const int* at, int line, const char* what) {
    Box box{};
    std::memcpy(&box.map, map, sizeof box.map);
    if (box.map.magic != MAGIC) fail(Kind::protocol, line, 0, "%s %s by what is no tensor map", name(self()), what);
    if (box.map.rank() != rank)
        fail(Kind::protocol, line, 0, "%s %s %d dimensions by a tensor map of %d", name(self()), what, rank,
             box.map.rank());
    require_aligned(shared, 128, line, what);
    find_shared(shared, box.map.row_bytes() * box.map.rows(), line, what);
    box.shared = shared;
    std::copy(at, at + rank, box.at);
    return box;
}

// For each row of the box: its bytes in global memory, those that lie in the tensor, and where in the row they start.
template <class Act>
static void for_rows(const Box& box, Act act) {
    const Map& map = box.map;
    u64 row = 0;
    const long long first = std::max(box.at[0], 0),
                    last = std::min<long long>(box.at[0] + (long long)map.box[0], map.shape[0]);
    for (u64 k = 0; k < map.box[3]; ++k)
        for (u64 j = 0; j < map.box[2]; ++j)
            for (u64 i = 0; i < map.box[1]; ++i, ++row) {
                const long long at[3] = {box.at[1] + (long long)i, box.at[2] + (long long)j, box.at[3] + (long long)k};
                bool inside = first < last;
                u64 address = map.address + first * map.element();
                for (int d = 0; d < 3 && d + 1 < map.rank(); ++d) {
                    inside = inside && at[d] >= 0 && at[d] < (long long)map.shape[d + 1];
                    address += at[d] * map.stride[d];
                }
                const u64 bytes = inside ? (last - first) * map.element() : 0;
                act(row, reinterpret_cast<u8*>(address), bytes, (u64)(first - box.at[0]) * map.element());
            }
}

static u64 swizzled(u64 offset, int span) {
    const u64 mask = span == 128 ? 7 : span == 64 ? 3 : span == 32 ? 1 : 0;
    return offset ^ (offset >> 7 & mask) << 4;
}

static void copy_rows(const Box& box, bool load) {
    const u64 row_bytes = box.map.row_bytes();
    u8* const arena = machine.shared->begin;  // a multiple of 1024, as the hardware's pattern wants
    const u64 start = box.shared - arena;
    for_rows(box, [&](u64 row, u8* global, u64 bytes, u64 skip) {
        u8 line[256 * 8] = {};
        if (load) std::memcpy(line + skip, global, bytes);
        for (u64 piece = 0; piece < row_bytes; piece += 16) {
            u8* const shared = arena + swizzled(start + row * row_bytes + piece, box.map.swizzle());
            if (load) std::memcpy(shared, line + piece, 16);
            else std::memcpy(line + piece, shared, 16);
        }
        if (!load && bytes) std::memcpy(global, line + skip, bytes);
    });
}

static void complete(const TensorCopy& copy) {
    copy_rows(copy.box, true);
    Mbarrier& m = machine.mbarriers[copy.mbarrier];
    m.done[copy.number] = true;
    while (m.done_up_to < m.done.size() && m.done[m.done_up_to]) ++m.done_up_to;
    m.bytes -= (long long)(copy.box.map.row_bytes() * copy.box.map.rows());
    complete_phase(m, copy.line);
}

bool finish_a_copy() {
    auto& flights = machine.in_flight;
    if (flights.empty()) return false;
    const int order = machine.request.order;
    const size_t which = order == 2                 ? next_random() % flights.size()
                         : order == 1 || order == 4 ? flights.size() - 1
                                                    : 0;
    const TensorCopy copy = flights[which];
    flights.erase(flights.begin() + which);
    complete(copy);
    return true;
}

static void note_source(const Box& box, int line) {
    for_rows(box, [&](u64, u8* global, u64 bytes, u64) {
        if (!bytes) return;
        Shadow& from = find(global, bytes, line, "copies with a tensor map");
        require_valid(from, global - from.begin, bytes, line);
        if (from.tracked) note_read(from, global - from.begin, bytes, by_thread(line));
    });
}

TWE_API void twe_tma_load(u8* shared, const void* map, u8* barrier, int rank, const int* at, int mask, int line) {
    Fiber& fiber = self();
    const Box box = box_of(map, shared, rank, at, line, "loads a box");
    const int targets = mask ? mask & 0xffff : 1 << fiber.rank;
    if (targets >> machine.blocks)
        fail(Kind::protocol, line, 0, "%s loads for blocks %#x of a cluster of %d", name(fiber), targets,
             machine.blocks);
    note_source(box, line);
    const u64 offset = shared - fiber.shared, bytes = box.map.row_bytes() * box.map.rows();
    for (int block = 0; block < machine.blocks; ++block) {
        if (!(targets >> block & 1)) continue;
        const u32 number = find_mbarrier(barrier, block, line, "signals", true);
        Mbarrier& m = machine.mbarriers[number];
        TensorCopy copy = {box, number, (u32)m.done.size(), line};
        copy.box.shared = machine.cluster[block].shared + offset;
        m.done.push_back(false);
        Shadow& to = *machine.shared;
        note_write(to, copy.box.shared - to.begin, bytes, {&fiber, m.actor, copy.number + 1, line, true}, nullptr);
        if (latest()) machine.in_flight.push_back(copy);
        else complete(copy);
    }
}

static void perform(const Box& box) { copy_rows(box, false); }

TWE_API void twe_tma_store(const void* map, u8* shared, const int* at, int line) {
    Fiber& fiber = self();
    const Box box = box_of(map, shared, 2, at, line, "stores a box");
    if (fiber.stores.actor == NOBODY) fiber.stores.actor = new_actor(ActorKind::stores, fiber.index);
    const u32 group = fiber.stores.committed + 1;
    Shadow& from = *machine.shared;
    note_read(from, shared - from.begin, box.map.row_bytes() * box.map.rows(),
              {&fiber, fiber.stores.actor, group, line, true});
    for_rows(box, [&](u64, u8* global, u64 bytes, u64) {
        if (!bytes) return;
        Shadow& to = find(global, bytes, line, "stores with a tensor map");
        if (!to.tracked) to.track();
        note_write(to, global - to.begin, bytes, {&fiber, fiber.stores.actor, NEVER, line, true}, nullptr);
        set_valid(to, global - to.begin, bytes);
    });
    fiber.stores.pending.push_back({group, box});
    fiber.stores.line = line;
    if (!latest()) perform(box);
}

TWE_API void twe_tma_store_commit(int) { ++self().stores.committed; }
TWE_API void twe_tma_store_wait(int groups, int) {
    retire(self().stores, groups, latest() ? static_cast<void (*)(const Box&)>(perform) : [](const Box&) {});
}

TWE_API void twe_setmaxnreg(int registers, int line) {
    if (registers % 8 || registers < 24 || registers > 256)
        fail(Kind::protocol, line, 0, "setmaxnreg %d: multiples of 8 from 24 to 256 are allowed", registers);
}

// Shared memory goes with the last thread of a block: arrivals of other blocks must have been heard of by then.
static void finish_block(Block& block) {
    const Known all = block.ended.finish();
    for (const Block::Remote& remote : block.arrivals)
        if (!all->covers(remote.actor, remote.clock))
            fail(Kind::protocol, remote.line, 0, "block (%d, %d, %d) can end before %s arrives at its mbarrier",
                 block.index[0], block.index[1], block.index[2], name(machine.fibers[remote.actor]));
}

void finish_thread(Fiber& fiber) {
    if (!fiber.stores.pending.empty())
        fail(Kind::protocol, fiber.stores.line, 0, "%s ends before its TMA stores have read shared memory",
             name(fiber));
    for (const Warpgroup& group : block_of(fiber).products)
        if (!group.pending.empty() && machine.actors[group.actor].owner / WARPGROUP == fiber.index / WARPGROUP)
            fail(Kind::protocol, group.pending[0].line, 0, "%s ends while a wgmma of its warpgroup is in flight",
                 name(fiber));
    if (machine.blocks == 1) return;
    Block& block = block_of(fiber);
    block.ended.take(fiber.base.get());
    if (block.live == 0) finish_block(block);
}

}  // namespace tilewright
