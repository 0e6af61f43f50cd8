// Kernels, indices, memory, barriers, shuffles, storage types, integer arithmetic: what every kernel may use.

#define TW_KERNEL_BOUNDS_(threads, min_blocks) __launch_bounds__(threads, min_blocks)
#define TW_KERNEL(threads, min_blocks) extern "C" __global__ void TW_KERNEL_BOUNDS_(threads, min_blocks)
#define TW_CLUSTER(x, y, z) __cluster_dims__(x, y, z)
#define TW_GRID_CONSTANT __grid_constant__
#define TW_DEVICE __device__ __forceinline__
#define TW_UNROLL _Pragma("unroll")
#define TW_NO_UNROLL _Pragma("unroll 1")

TW_DEVICE int tw_thread_x() { return threadIdx.x; }
TW_DEVICE int tw_thread_y() { return threadIdx.y; }
TW_DEVICE int tw_thread_z() { return threadIdx.z; }
TW_DEVICE int tw_block_x() { return blockIdx.x; }
TW_DEVICE int tw_block_y() { return blockIdx.y; }
TW_DEVICE int tw_block_z() { return blockIdx.z; }
TW_DEVICE int tw_grid_x() { return gridDim.x; }
TW_DEVICE int tw_grid_y() { return gridDim.y; }
TW_DEVICE int tw_grid_z() { return gridDim.z; }

extern __shared__ __align__(1024) unsigned char tw_shared_memory_[];

TW_DEVICE unsigned char* tw_shared() { return tw_shared_memory_; }
TW_DEVICE unsigned tw_shared_address_(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

template <class To, class From> TW_DEVICE To tw_reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "tw_reinterpret keeps the bits");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

// Storage types: loaded, widened, computed in float, rounded to nearest even.
struct tw_f16 { unsigned short bits; };
struct tw_bf16 { unsigned short bits; };

TW_DEVICE float tw_f32(tw_f16 x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}
TW_DEVICE float tw_f32(tw_bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
TW_DEVICE tw_f16 tw_to_f16(float x) {
    tw_f16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
    return half;
}
TW_DEVICE tw_bf16 tw_to_bf16(float x) {
    tw_bf16 half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
    return half;
}

// A value of 2 to 16 bytes that moves by one instruction.
template <class T, int N> struct alignas(sizeof(T) * N) tw_vec { T at[N]; };

template <int BYTES> struct tw_word_;
template <> struct tw_word_<1> { typedef unsigned char type; };
template <> struct tw_word_<2> { typedef unsigned short type; };
template <> struct tw_word_<4> { typedef unsigned type; };
template <> struct tw_word_<8> { typedef uint2 type; };
template <> struct tw_word_<16> { typedef uint4 type; };

template <class T> TW_DEVICE T tw_load(const T* p) {
    typedef typename tw_word_<sizeof(T)>::type Word;
    return tw_reinterpret<T>(*reinterpret_cast<const Word*>(p));
}
template <class T> TW_DEVICE T tw_load_const(const T* p) {
    typedef typename tw_word_<sizeof(T)>::type Word;
    return tw_reinterpret<T>(__ldg(reinterpret_cast<const Word*>(p)));
}
// Four bytes, of which several elements are one operand of an instruction.
TW_DEVICE unsigned tw_load_word(const void* p) { return *static_cast<const unsigned*>(p); }
template <class T> TW_DEVICE void tw_store(T* p, T v) {
    typedef typename tw_word_<sizeof(T)>::type Word;
    *reinterpret_cast<Word*>(p) = tw_reinterpret<Word>(v);
}

// Barriers: every lane of a warp reaches the same one.
TW_DEVICE void tw_barrier() { __syncthreads(); }
TW_DEVICE void tw_warp_barrier() { __syncwarp(); }
TW_DEVICE void tw_barrier_named(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
TW_DEVICE void tw_barrier_named_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Shuffles of a whole warp; values narrower than a register travel in one.
template <class T> TW_DEVICE unsigned tw_widen_(T v) {
    return tw_reinterpret<typename tw_word_<sizeof(T)>::type>(v);
}
template <class T> TW_DEVICE T tw_narrow_(unsigned word) {
    return tw_reinterpret<T>(static_cast<typename tw_word_<sizeof(T)>::type>(word));
}
template <class T> TW_DEVICE T tw_shuffle_xor(T v, int mask) {
    if constexpr (sizeof(T) == 8) {
        return tw_reinterpret<T>(__shfl_xor_sync(0xffffffffu, tw_reinterpret<unsigned long long>(v), mask));
    } else {
        return tw_narrow_<T>(__shfl_xor_sync(0xffffffffu, tw_widen_(v), mask));
    }
}
template <class T> TW_DEVICE T tw_shuffle_down(T v, int delta) {
    if constexpr (sizeof(T) == 8) {
        return tw_reinterpret<T>(__shfl_down_sync(0xffffffffu, tw_reinterpret<unsigned long long>(v), delta));
    } else {
        return tw_narrow_<T>(__shfl_down_sync(0xffffffffu, tw_widen_(v), delta));
    }
}
template <class T> TW_DEVICE T tw_shuffle(T v, int lane) {
    if constexpr (sizeof(T) == 8) {
        return tw_reinterpret<T>(__shfl_sync(0xffffffffu, tw_reinterpret<unsigned long long>(v), lane));
    } else {
        return tw_narrow_<T>(__shfl_sync(0xffffffffu, tw_widen_(v), lane));
    }
}

// Division that rounds to minus infinity; the remainder has the divisor's sign.
TW_DEVICE int tw_floordiv(int a, int b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
TW_DEVICE long long tw_floordiv(long long a, long long b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
TW_DEVICE unsigned tw_floordiv(unsigned a, unsigned b) { return a / b; }
TW_DEVICE unsigned long long tw_floordiv(unsigned long long a, unsigned long long b) { return a / b; }
TW_DEVICE int tw_floormod(int a, int b) { return a % b + (a % b != 0 && (a ^ b) < 0 ? b : 0); }
TW_DEVICE long long tw_floormod(long long a, long long b) { return a % b + (a % b != 0 && (a ^ b) < 0 ? b : 0); }
TW_DEVICE unsigned tw_floormod(unsigned a, unsigned b) { return a % b; }
TW_DEVICE unsigned long long tw_floormod(unsigned long long a, unsigned long long b) { return a % b; }

TW_DEVICE int tw_popcount(unsigned x) { return __popc(x); }
TW_DEVICE int tw_popcount(int x) { return __popc(x); }
TW_DEVICE int tw_popcount(unsigned long long x) { return __popcll(x); }
TW_DEVICE int tw_popcount(long long x) { return __popcll(x); }
TW_DEVICE int tw_clz(unsigned x) { return __clz(x); }
TW_DEVICE int tw_clz(int x) { return __clz(x); }
TW_DEVICE int tw_clz(unsigned long long x) { return __clzll(x); }
TW_DEVICE int tw_clz(long long x) { return __clzll(x); }

// Four products of bytes, summed into c.
TW_DEVICE int tw_dp4a_s8s8(int a, int b, int c) {
    int d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
TW_DEVICE int tw_dp4a_u8s8(int a, int b, int c) {
    int d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
