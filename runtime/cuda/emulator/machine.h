// What the parts of the runtime share: threads as fibers, what each knows of the others, memory with its shadow.
//
// Order is decided by vector clocks, not by which thread happened to run first: two accesses race if neither thread
// had learned of the other's through a barrier, whatever the order of this run was.  An *actor* is whatever accesses
// memory on its own: a thread, or an asynchronous engine (the copies of one thread, the copies that signal one
// mbarrier, the products of one warpgroup).  A *base* is an immutable vector of clocks that many threads share.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

struct twe_identity {
    int thread[3], block[3], grid[3];
    int rank;
    unsigned char* shared;
};
extern "C" twe_identity* twe_self;

namespace tilewright {

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

constexpr u32 NOBODY = ~0u;
constexpr u32 NEVER = ~0u;  // a clock that nobody ever learns of
constexpr int WARP = 32, WARPGROUP = 128;

// -- storage types ----------------------------------------------------------------------------------------------------

inline u32 bits_of(float x) {
    u32 bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float of_bits(u32 bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline float half_to_float(u16 bits) {
    const u32 magnitude = bits & 0x7fff, sign = (u32)(bits & 0x8000) << 16;
    const u32 scaled = bits_of(of_bits(magnitude << 13) * 0x1p112f);  // moves the exponent, and subnormals exactly
    return of_bits(sign | scaled | (magnitude >= 0x7c00 ? 0x7f800000u : 0));
}

// -- faults -----------------------------------------------------------------------------------------------------------

enum class Kind : int { none, race, bounds, alignment, uninitialised, divergence, deadlock, protocol, crash };

struct Fault {  // as Python reads it
    int kind, line, other_line;
    int block[3], thread[3];
    char fact[400];
};

// Ends the run: control goes back to the caller of twe_run.
[[noreturn]] void fail(Kind kind, int line, int other_line, const char* format, ...)
    __attribute__((format(printf, 4, 5)));
[[noreturn]] void fail_stuck();
extern sigjmp_buf end_of_run;

// Remembers a read of what was never written, reported at the end unless a race turns out to be the reason.
void fail_later(int line, const char* format, ...) __attribute__((format(printf, 2, 3)));

// -- what threads know ------------------------------------------------------------------------------------------------

struct Base {
    u32 references, width;
    u64 serial;
    u64 gathered;  // serial of the gathering that has taken this base in
    u32 clock[1];

    bool covers(u32 actor, u32 at) const { return actor < width && at <= clock[actor]; }
};

class Known {  // a counted reference to a base
  public:
    Known() = default;
    Known(const Known& other) : base_(other.base_) { hold(); }
    Known(Known&& other) noexcept : base_(other.base_) { other.base_ = nullptr; }
    explicit Known(Base* fresh) : base_(fresh) {}
    ~Known() { drop(); }
    Known& operator=(Known other) noexcept {
        std::swap(base_, other.base_);
        return *this;
    }
    const Base* operator->() const { return base_; }
    Base* get() const { return base_; }
    explicit operator bool() const { return base_ != nullptr; }

  private:
    void hold() {
        if (base_) ++base_->references;
    }
    void drop();
    Base* base_ = nullptr;
};

struct Fiber;

struct Gather {  // the join of what several threads know
    std::vector<u32> clock;
    u64 serial = 0;

    void take(const Base* base);
    void take(Fiber& fiber);  // a release: what the thread does from now on is not part of it
    void set(u32 actor, u32 at);
    Known finish();  // and start anew
};
Known joined(const Known& a, const Known& b);
Known with(const Known& a, u32 actor, u32 at);

// -- threads ----------------------------------------------------------------------------------------------------------

enum class Wait : u8 { none, block, named, warp, cluster, mbarrier, warpgroup, done };

struct CopyItem {
    u8* shared;
    const u8* global;
    int bytes, valid;
};
struct Map {  // a tensor map, as tensor_map.py encodes it: innermost dimension first
    u64 magic, address, packed, shape[4], stride[4], box[4], unused;

    int rank() const { return (int)(packed & 0xff); }
    int element() const { return (int)(packed >> 8 & 0xff); }
    int swizzle() const { return (int)(packed >> 16 & 0xff); }
    u64 row_bytes() const { return box[0] * element(); }
    u64 rows() const { return box[1] * box[2] * box[3]; }
};
struct Box {
    Map map;
    u8* shared;
    int at[4];
};  // what one tensor copy moves

template <class Item>
struct Groups {  // asynchronous operations of one thread, committed in groups
    u32 actor = NOBODY;
    u32 committed = 0, retired = 0;
    int line = 0;                               // of the last operation
    std::vector<std::pair<u32, Item>> pending;  // with the number of the group, in order
};

struct Fiber : twe_identity {
    u32 index = 0;  // in the cluster: the thread as an actor
    u32 clock = 1;
    Known base;
    u32 fenced_clock = 0, fenced_copies = 0;  // up to which own writes are visible to asynchronous engines
    Known fenced_base;
    Groups<CopyItem> copies;
    Groups<Box> stores;
    struct Step {
        u32 from, to, clock;
        int line;
    };  // from one set of readers to the next: the last few
    Step steps[4] = {};
    Wait wait = Wait::none;
    int wait_line = 0;
    u32 wait_object = 0;
    void* stack_pointer = nullptr;

    bool knows(u32 actor, u32 at) const {
        return actor == index || base->covers(actor, at) || (actor == copies.actor && at <= copies.retired) ||
               (actor == stores.actor && at <= stores.retired);
    }
};

inline Fiber& self() { return *static_cast<Fiber*>(twe_self); }
const char* name(const Fiber& fiber);  // "thread (1, 0, 0) of block (0, 0, 0)", kept until four more names are made
const char* name_actor(u32 actor);     // the same for any actor of the cluster that runs

struct Barrier {
    int arrived = 0, threads = 0, line = 0;
    Gather gather;
    std::vector<u32> waiting;
};

struct Collective {  // an instruction of all threads of a warp or a warpgroup
    int arrived = 0, line = 0;
    const char* what = nullptr;
    void* operand[WARPGROUP];
};

// -- memory -----------------------------------------------------------------------------------------------------------

struct Cell {  // who touched 1, 2 or 4 bytes last
    u32 writer, write_clock;
    u32 reads;                    // a set of readers since then
    u32 write_epoch, read_epoch;  // the number of the cluster
    u16 write_line, read_line;
    u32 earlier;  // the number of an earlier cluster that read, too
};

struct Shadow {
    u8* begin = nullptr;
    u64 bytes = 0;
    int shift = 2;  // a cell stands for 1 << shift bytes
    bool shared = false;
    bool tracked = false;  // written in this launch, so that accesses are noted
    std::vector<Cell> cells;
    u64 invalid_bytes = 0;
    std::vector<u8> valid;  // global memory: one for each byte that holds a value; empty where all or none do
    int const_line = 0, store_line = 0;

    void track();
    void refine(u64 offset, u64 bytes);  // so that the access covers whole cells
};

struct Access {
    Fiber* issuer;
    u32 actor, clock;  // the issuer's, or those of the engine that it sets going
    int line;
    bool async = false;                                // the engine sees only what was fenced
    const std::vector<const Base*>* others = nullptr;  // what further issuers know
};
Access by_thread(int line);

Shadow& find(const void* p, u64 bytes, int line, const char* what);  // or a fault
Shadow& find_shared(const void* p, u64 bytes, int line, const char* what);
void require_aligned(const void* p, u64 alignment, int line, const char* what);
void note_read(Shadow& shadow, u64 offset, u64 bytes, const Access& access);
void note_write(Shadow& shadow, u64 offset, u64 bytes, const Access& access, const void* value);
void require_valid(Shadow& shadow, u64 offset, u64 bytes, int line);
void set_valid(Shadow& shadow, u64 offset, u64 bytes, bool valid = true);

struct ReadNode {
    u32 parent, actor, clock;
    u64 covered;
    u16 line;
};

// -- engines ----------------------------------------------------------------------------------------------------------

struct Mbarrier {
    int block, offset;
    int count, pending;
    long long bytes = 0;
    u32 phase = 0;
    u32 initialiser, init_clock;
    int line;
    bool fenced = false;
    Gather gather;
    Known completed;  // what all phases so far published
    u32 actor;
    std::vector<bool> done;  // copies that signal this barrier, in the order of their issue
    u32 done_up_to = 0;
    Known join_of, join_with, join;
    std::vector<u32> waiting;
};

struct TensorCopy {
    Box box;
    u32 mbarrier, number;
    int line;
};

struct Product {
    u32 group;
    float* d[WARPGROUP];
    u64 a, b;
    int scale_d, n, flags, line;
};

struct Warpgroup {
    u32 actor = NOBODY, committed = 0, retired = 0;
    bool fenced = false;
    std::vector<Product> pending;
    std::vector<std::pair<float*, std::vector<float>>> saved;  // accumulators in flight, by the first thread's address
};

enum class ActorKind : u8 { thread, copies, stores, mbarrier, warpgroup, barrier_object };
struct Actor {
    ActorKind kind;
    u32 owner;
};

struct Block {
    int index[3];
    u8* shared = nullptr;
    int live = 0;
    Barrier barrier;
    Barrier named[16];
    std::vector<Collective> warps;
    std::vector<Barrier> warp_barriers;
    std::vector<Collective> warpgroups;
    std::vector<Warpgroup> products;
    struct Remote {
        u32 actor, clock;
        int line;
    };
    std::vector<Remote> arrivals;  // of threads of other blocks
    Gather ended;                  // what its threads knew when they ended
};

struct Request {  // as Python writes it
    int grid[3], block[3], cluster[3];
    int shared_bytes, order, latest;
    u64 seed;
};

struct Machine {  // one launch
    Request request;
    int threads = 0, blocks = 0, live = 0;  // of a block; of a cluster; fibers of the cluster that have not ended
    u32 epoch = 0, first_epoch = 1;         // number of the cluster, over all launches; the first of this launch
    Fault* fault = nullptr;
    bool deferred = false;  // the fault so far is a read of what nobody has written
    std::vector<Fiber> fibers;
    std::vector<u64> ready;  // one bit a fiber
    std::vector<Block> cluster;
    std::vector<Actor> actors;
    Barrier cluster_barrier;
    Shadow* shared = nullptr;  // of all blocks of the cluster, one after another
    u64 shared_stride = 0;
    std::vector<Mbarrier> mbarriers;
    std::vector<u32> mbarrier_at;  // by 8 bytes of shared memory, from 1
    std::vector<TensorCopy> in_flight;
    std::vector<ReadNode> reads;
    u64 random = 1;
};
extern Machine machine;

u32 new_actor(ActorKind kind, u32 owner);
inline Block& block_of(const Fiber& fiber) { return machine.cluster[fiber.rank]; }
inline int warp_of(const Fiber& fiber) { return (int)(fiber.index % machine.threads) / WARP; }
inline int lane_of(const Fiber& fiber) { return (int)(fiber.index % machine.threads) % WARP; }

void suspend(Wait wait, int line, u32 object = 0);  // until woken
void wake(u32 fiber);
u64 next_random();

// All threads of the warp or warpgroup meet; the last to come runs `act` on all operands, and all go on.
void meet_warp(const char* what, void* operand, int line, void (*act)(Collective&, int lanes));
void meet_warpgroup(const char* what, void* operand, int line, void (*act)(Collective&, int group));

bool finish_a_copy();              // completes one tensor copy in flight; false where there is none
void finish_thread(Fiber& fiber);  // what must hold when a thread ends
void start_reads();

}  // namespace tilewright
