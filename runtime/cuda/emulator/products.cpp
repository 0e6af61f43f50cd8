// Matrix instructions: fragments of a warp, and products of a warpgroup with operands in shared memory.
// Layouts: PTX ISA, "Matrix multiply-accumulate" and "Asynchronous warpgroup level matrix instructions".
#include <algorithm>

#include "machine.h"

#define TWE_API extern "C" __attribute__((visibility("default")))

namespace tilewright {

static Fiber& member(int place, int size) {  // of the warp or warpgroup of the running thread
    Fiber& fiber = self();
    return machine.fibers[fiber.index - fiber.index % machine.threads % size + place];
}

static void require_warp(int lanes, int line, const char* what) {
    if (lanes < WARP) fail(Kind::protocol, line, 0, "%s in a warp of %d threads", what, lanes);
}

static float brain_to_float(u16 bits) {
    const u32 wide = (u32)bits << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
}

static void widen(const u16* from, float* to, int count, bool brain) {
    if (brain)
        for (int i = 0; i < count; ++i) to[i] = brain_to_float(from[i]);
    else
        for (int i = 0; i < count; ++i) to[i] = half_to_float(from[i]);
}

// -- ldmatrix, stmatrix -----------------------------------------------------------------------------------------------

struct Rows {
    u32* r;
    u8* row;
    int matrices, transposed, line;
};

// Runs `act(lane, shadow, offset, access)` as the lane that gives the address of each row.
template <class Act>
static void for_rows(Collective& collective, int rows, const char* what, Act act) {
    Fiber& last = self();
    for (int lane = 0; lane < rows; ++lane) {
        const Rows& operand = *static_cast<Rows*>(collective.operand[lane]);
        Fiber& fiber = member(lane, WARP);
        twe_self = &fiber;
        require_aligned(operand.row, 16, operand.line, what);
        Shadow& shadow = find_shared(operand.row, 16, operand.line, what);
        act(lane, shadow, (u64)(operand.row - shadow.begin), by_thread(operand.line));
        twe_self = &last;
    }
}

static void act_ldmatrix(Collective& collective, int lanes) {
    const Rows& any = *static_cast<Rows*>(collective.operand[0]);
    require_warp(lanes, any.line, "ldmatrix");
    u16 element[32][8];
    for_rows(collective, 8 * any.matrices, "reads with ldmatrix",
             [&](int lane, Shadow& shadow, u64 offset, const Access& access) {
                 note_read(shadow, offset, 16, access);
                 std::memcpy(element[lane], shadow.begin + offset, 16);
             });
    for (int lane = 0; lane < WARP; ++lane) {
        const Rows& operand = *static_cast<Rows*>(collective.operand[lane]);
        const int i = lane / 4, j = lane % 4 * 2;
        for (int m = 0; m < any.matrices; ++m) {
            const u32 low = any.transposed ? element[8 * m + j][i] : element[8 * m + i][j];
            const u32 high = any.transposed ? element[8 * m + j + 1][i] : element[8 * m + i][j + 1];
            operand.r[m] = low | high << 16;
        }
    }
}

TWE_API void twe_ldmatrix(u32* r, u8* row, int matrices, int transposed, int line) {
    Rows operand = {r, row, matrices, transposed, line};
    meet_warp("ldmatrix", &operand, line, act_ldmatrix);
}

static void act_stmatrix(Collective& collective, int lanes) {
    const Rows& any = *static_cast<Rows*>(collective.operand[0]);
    require_warp(lanes, any.line, "stmatrix");
    for_rows(collective, 32, "writes with stmatrix", [&](int lane, Shadow& shadow, u64 offset, const Access& access) {
        u32 row[4];
        for (int i = 0; i < 4; ++i) row[i] = static_cast<Rows*>(collective.operand[lane % 8 * 4 + i])->r[lane / 8];
        note_write(shadow, offset, 16, access, row);
        std::memcpy(shadow.begin + offset, row, 16);
    });
}

TWE_API void twe_stmatrix(u8* row, const u32* r, int line) {
    Rows operand = {const_cast<u32*>(r), row, 4, 0, line};
    meet_warp("stmatrix", &operand, line, act_stmatrix);
}

// -- mma --------------------------------------------------------------------------------------------------------------

enum Product16 { F16, BF16, TF32, S8 };

struct Fragments {
    void* d;
    const u32 *a, *b;
    int kind, line;
};

// d (16, 8) += a (16, depth) b (depth, 8) on plain arrays.
template <class T>
static void multiply(T (&d)[16][8], const T* a, const T* b, int depth) {
    for (int i = 0; i < 16; ++i)
        for (int k = 0; k < depth; ++k)
            for (int j = 0; j < 8; ++j) d[i][j] += a[i * depth + k] * b[k * 8 + j];
}

template <class T>
static void move_results(Collective& collective, T (&d)[16][8], bool out) {
    for (int lane = 0; lane < WARP; ++lane) {
        T* const own = static_cast<T*>(static_cast<Fragments*>(collective.operand[lane])->d);
        for (int e = 0; e < 4; ++e) {
            T& element = d[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2];
            if (out) own[e] = element;
            else element = own[e];
        }
    }
}

// Each register of a holds `pack` neighbours along the depth, of rows g and g + 8 by turns; each of b, of column g.
template <class E>
static void unpack(Collective& collective, E* a, E* b) {
    constexpr int pack = 4 / sizeof(E), half = 4 * pack, depth = 2 * half;
    for (int lane = 0; lane < WARP; ++lane) {
        const Fragments& own = *static_cast<Fragments*>(collective.operand[lane]);
        const int g = lane / 4, k = lane % 4 * pack;
        for (int r = 0; r < 4; ++r) std::memcpy(&a[(g + r % 2 * 8) * depth + k + r / 2 * half], &own.a[r], 4);
        for (int r = 0; r < 2; ++r) {
            E parts[pack];
            std::memcpy(parts, &own.b[r], 4);
            for (int i = 0; i < pack; ++i) b[(k + i + r * half) * 8 + g] = parts[i];
        }
    }
}

static void act_mma(Collective& collective, int lanes) {
    const Fragments& any = *static_cast<Fragments*>(collective.operand[0]);
    require_warp(lanes, any.line, "mma");
    if (any.kind == S8) {
        int8_t a8[16 * 32], b8[32 * 8];
        int32_t d[16][8], a[16 * 32], b[32 * 8];
        unpack(collective, a8, b8);
        std::copy(a8, a8 + 512, a);
        std::copy(b8, b8 + 256, b);
        move_results(collective, d, false);
        multiply(d, a, b, 32);
        return move_results(collective, d, true);
    }
    float d[16][8], a[16 * 16], b[16 * 8];
    int depth = 16;
    if (any.kind == TF32) {
        u32 a32[16 * 8], b32[8 * 8];
        unpack(collective, a32, b32);
        for (u32& x : a32) x &= 0xffffe000;  // the hardware reads 10 bits of the mantissa
        for (u32& x : b32) x &= 0xffffe000;
        std::memcpy(a, a32, sizeof a32);
        std::memcpy(b, b32, sizeof b32);
        depth = 8;
    } else {
        u16 a16[16 * 16], b16[16 * 8];
        unpack(collective, a16, b16);
        widen(a16, a, 256, any.kind == BF16);
        widen(b16, b, 128, any.kind == BF16);
    }
    move_results(collective, d, false);
    multiply(d, a, b, depth);
    move_results(collective, d, true);
}

TWE_API void twe_mma(void* d, const u32* a, const u32* b, int kind, int line) {
    Fragments operand = {d, a, b, kind, line};
    meet_warp("mma", &operand, line, act_mma);
}

// -- wgmma: descriptors -----------------------------------------------------------------------------------------------

TWE_API u64 twe_wgmma_desc(const u8* shared, int swizzle, int leading, int stride, int line) {
    require_aligned(shared, 16, line, "describes an operand of wgmma");
    const Shadow& arena = find_shared(shared, 16, line, "describes an operand of wgmma in");
    (void)arena;
    if (leading % 16 || stride % 16)
        fail(Kind::alignment, line, 0,
             "%s describes an operand of wgmma with steps of %d and %d bytes: no multiples of 16", name(self()),
             leading, stride);
    const u64 mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    return ((u64)(shared - self().shared) & 0x3ffff) >> 4 | ((u64)leading >> 4 & 0x3fff) << 16 |
           ((u64)stride >> 4 & 0x3fff) << 32 | mode << 62;
}

struct Operand {  // of wgmma: `extent` rows (or columns) along M or N, 16 elements along K
    u64 start, leading, stride, span, mask;
    bool transposed;

    Operand(u64 d, bool is_transposed)
        : start((d & 0x3fff) << 4),
          leading((d >> 16 & 0x3fff) << 4),
          stride((d >> 32 & 0x3fff) << 4),
          transposed(is_transposed) {
        const int mode = (int)(d >> 62);
        span = mode == 1 ? 128 : mode == 2 ? 64 : mode == 3 ? 32 : 16;
        mask = span / 16 - 1;
    }
    // Offset of the 16 bytes that hold 8 neighbours along K (plain), or along M or N at one k (transposed).
    u64 piece(int along, int k) const {
        u64 offset = start;
        if (!transposed) {
            offset += (u64)(along / 8) * stride + (u64)(along % 8) * span + (u64)(k / 8) * (span == 16 ? leading : 16);
        } else if (span == 16) {
            offset += (u64)(along / 8) * stride + (u64)(k % 8) * 16 + (u64)(k / 8) * leading;
        } else {
            const u64 q = along / 8, wide = span / 16;
            offset += q % wide * 16 + q / wide * leading + (u64)(k % 8) * span + (u64)(k / 8) * stride;
        }
        return offset ^ (offset >> 7 & mask) << 4;
    }
    template <class Act>
    void for_pieces(int extent, Act act) const {  // act(along, k, offset)
        if (transposed) {
            for (int along = 0; along < extent; along += 8)
                for (int k = 0; k < 16; ++k) act(along, k, piece(along, k));
        } else {
            for (int along = 0; along < extent; ++along)
                for (int k = 0; k < 16; k += 8) act(along, k, piece(along, k));
        }
    }
    // Elements as [k][along].
    void read(const u8* shared, int extent, u16* to) const {
        for_pieces(extent, [&](int along, int k, u64 offset) {
            u16 part[8];
            std::memcpy(part, shared + offset, 16);
            for (int i = 0; i < 8; ++i) to[transposed ? k * extent + along + i : (k + i) * extent + along] = part[i];
        });
    }
};

// -- wgmma: products --------------------------------------------------------------------------------------------------

typedef float Quad __attribute__((vector_size(16), aligned(4)));

// Adds to the accumulators of 128 threads, d[t] each n / 2 floats: 4 for each 8 columns, two rows of two.
static void multiply(const Product& product, float* const* d) {
    const u8* shared = self().shared;
    const bool brain = product.flags & 4;
    const int n = product.n;
    static u16 a16[16 * 64], b16[16 * 256];
    static float a[16 * 64], b[16 * 256];
    static Quad spread[4][16 * 32];  // b as each quarter of a warp's row needs it
    Operand(product.a, product.flags & 1).read(shared, 64, a16);
    Operand(product.b, product.flags & 2).read(shared, n, b16);
    widen(a16, a, 16 * 64, brain);
    widen(b16, b, 16 * n, brain);
    for (int t = 0; t < 4; ++t)
        for (int k = 0; k < 16; ++k)
            for (int j = 0; j < n / 8; ++j) {
                const float x = b[k * n + 8 * j + 2 * t], y = b[k * n + 8 * j + 2 * t + 1];
                spread[t][k * (n / 8) + j] = Quad{x, y, x, y};
            }
    for (int thread = 0; thread < WARPGROUP; ++thread) {
        const int row = thread / 32 * 16 + thread % 32 / 4;
        Quad sum[32];
        for (int j = 0; j < n / 8; ++j) {
            if (product.scale_d) std::memcpy(&sum[j], d[thread] + 4 * j, 16);
            else sum[j] = Quad{};
        }
        const Quad* from = spread[thread % 4];
        for (int k = 0; k < 16; ++k, from += n / 8) {
            const float x = a[k * 64 + row], y = a[k * 64 + row + 8];
            const Quad left = {x, x, y, y};
            for (int j = 0; j < n / 8; ++j) sum[j] += left * from[j];
        }
        for (int j = 0; j < n / 8; ++j) std::memcpy(d[thread] + 4 * j, &sum[j], 16);
    }
}

struct Issue {
    float* d;
    u64 a, b;
    int scale_d, n, flags, line;
};

static void note_operands(const Product& product, u32 actor) {
    static std::vector<const Base*> others;
    others.clear();
    Fiber& first = member(0, WARPGROUP);
    for (int i = 1; i < WARPGROUP; ++i) {
        const Base* base = member(i, WARPGROUP).base.get();
        if (base != first.base.get() && std::find(others.begin(), others.end(), base) == others.end())
            others.push_back(base);
    }
    const Access access = {&first, actor, product.group, product.line, true, &others};
    const auto note = [&](int, int, u64 offset) {
        Shadow& shadow = find_shared(self().shared + offset, 16, product.line, "multiplies with wgmma");
        note_read(shadow, self().shared + offset - shadow.begin, 16, access);
    };
    Operand(product.a, product.flags & 1).for_pieces(64, note);
    Operand(product.b, product.flags & 2).for_pieces(product.n, note);
}

// The accumulators are set aside until the product is waited for, and hold ones for as long.
static void set_aside(Warpgroup& group, const Product& product) {
    const size_t each = product.n / 2;
    for (auto& [key, values] : group.saved)
        if (key == product.d[0]) {
            if (values.size() != each * WARPGROUP)
                fail(Kind::protocol, product.line, 0,
                     "a wgmma of %d columns meets accumulators of another shape in flight", product.n);
            return;
        }
    std::vector<float> values(each * WARPGROUP);
    for (int i = 0; i < WARPGROUP; ++i) {
        std::memcpy(&values[i * each], product.d[i], each * 4);
        std::memset(product.d[i], 0xff, each * 4);
    }
    group.saved.push_back({product.d[0], std::move(values)});
}

static void act_wgmma(Collective& collective, int index) {
    Warpgroup& group = block_of(self()).products[index];
    const Issue& first = *static_cast<Issue*>(collective.operand[0]);
    Product product = {group.committed + 1, {}, first.a, first.b, first.scale_d, first.n, first.flags, first.line};
    for (int i = 0; i < WARPGROUP; ++i) {
        const Issue& own = *static_cast<Issue*>(collective.operand[i]);
        if (own.a != first.a || own.b != first.b || own.scale_d != first.scale_d)
            fail(Kind::divergence, first.line, 0, "%s and %s give one wgmma different operands",
                 name(member(0, WARPGROUP)), name(member(i, WARPGROUP)));
        product.d[i] = own.d;
    }
    if (!group.fenced)
        fail(Kind::protocol, first.line, 0, "%s multiplies with wgmma without tw_wgmma_fence since its last wait",
             name(self()));
    if (group.actor == NOBODY) group.actor = new_actor(ActorKind::warpgroup, member(0, WARPGROUP).index);
    note_operands(product, group.actor);
    if (machine.request.latest) set_aside(group, product);
    else multiply(product, product.d);
    group.pending.push_back(product);
}

TWE_API void twe_wgmma(float* d, u64 a, u64 b, int scale_d, int n, int flags, int line) {
    Issue operand = {d, a, b, scale_d, n, flags, line};
    meet_warpgroup("wgmma", &operand, line, act_wgmma);
}

static void act_fence(Collective&, int index) { block_of(self()).products[index].fenced = true; }
static void act_commit(Collective&, int index) { ++block_of(self()).products[index].committed; }

TWE_API void twe_wgmma_fence(int line) { meet_warpgroup("a wgmma fence", nullptr, line, act_fence); }
TWE_API void twe_wgmma_commit(int line) { meet_warpgroup("a wgmma commit", nullptr, line, act_commit); }

static void multiply_aside(Warpgroup& group, const Product& product) {
    const size_t each = product.n / 2;
    for (auto& [key, values] : group.saved) {
        if (key != product.d[0]) continue;
        float* aside[WARPGROUP];
        for (int i = 0; i < WARPGROUP; ++i) aside[i] = &values[i * each];
        multiply(product, aside);
    }
}

static void give_back(Warpgroup& group, const Product& product) {
    const auto same = [&](const Product& other) { return other.d[0] == product.d[0]; };
    if (std::any_of(group.pending.begin(), group.pending.end(), same)) return;
    const size_t each = product.n / 2;
    for (size_t s = 0; s < group.saved.size(); ++s) {
        if (group.saved[s].first != product.d[0]) continue;
        for (int i = 0; i < WARPGROUP; ++i) {
            const auto* bytes = reinterpret_cast<const u8*>(product.d[i]);
            if (std::any_of(bytes, bytes + each * 4, [](u8 byte) { return byte != 0xff; }))
                fail(Kind::race, product.line, 0, "%s changes accumulators of a wgmma in flight",
                     name(member(i, WARPGROUP)));
            std::memcpy(product.d[i], &group.saved[s].second[i * each], each * 4);
        }
        group.saved.erase(group.saved.begin() + s);
        return;
    }
}

static void act_wait(Collective& collective, int index) {
    Warpgroup& group = block_of(self()).products[index];
    const int left = *static_cast<int*>(collective.operand[0]);
    if (left == 0) group.fenced = false;
    if ((u32)left >= group.committed || group.actor == NOBODY) return;
    group.retired = std::max(group.retired, group.committed - (u32)left);
    while (!group.pending.empty() && group.pending[0].group <= group.retired) {
        const Product product = group.pending[0];
        if (machine.request.latest) multiply_aside(group, product);
        group.pending.erase(group.pending.begin());
        if (machine.request.latest) give_back(group, product);
    }
    Known before, after;
    for (int i = 0; i < WARPGROUP; ++i) {
        Known& base = member(i, WARPGROUP).base;
        if (base.get() != before.get()) {
            before = base;
            after = with(base, group.actor, group.retired);
        }
        base = after;
    }
}

TWE_API void twe_wgmma_wait(int groups, int line) { meet_warpgroup("a wgmma wait", &groups, line, act_wait); }

}  // namespace tilewright
