// The device language for the CPU: what the text of a kernel may name.  No other header is included, so that a kernel
// compiles in a tenth of a second.  Whatever does work lies in the runtime library, which is compiled once.
//
// Each access carries the line that made it (`line`, a default argument), for reports of faults.
#pragma once

#define TW_KERNEL(threads, min_blocks) extern "C" void
#define TW_CLUSTER(x, y, z)
#define TW_GRID_CONSTANT
#define TW_DEVICE static inline
#define TW_UNROLL
#define TW_NO_UNROLL
#define TW_NO_UNROLL
#define TWE_LINE int line = __builtin_LINE()

// -- who runs ---------------------------------------------------------------------------------------------------------

struct twe_identity {
    int thread[3], block[3], grid[3];
    int rank;  // of the block in its cluster
    unsigned char* shared;
};
extern "C" twe_identity* twe_self;  // the thread whose fiber runs

inline int tw_thread_x() { return twe_self->thread[0]; }
inline int tw_thread_y() { return twe_self->thread[1]; }
inline int tw_thread_z() { return twe_self->thread[2]; }
inline int tw_block_x() { return twe_self->block[0]; }
inline int tw_block_y() { return twe_self->block[1]; }
inline int tw_block_z() { return twe_self->block[2]; }
inline int tw_grid_x() { return twe_self->grid[0]; }
inline int tw_grid_y() { return twe_self->grid[1]; }
inline int tw_grid_z() { return twe_self->grid[2]; }
inline int tw_cluster_rank() { return twe_self->rank; }
inline unsigned char* tw_shared() { return twe_self->shared; }

// -- types ------------------------------------------------------------------------------------------------------------

template <class To, class From> inline To tw_reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "tw_reinterpret keeps the bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}

struct tw_f16 { unsigned short bits; };
struct tw_bf16 { unsigned short bits; };
template <class T, int N> struct alignas(sizeof(T) * N) tw_vec { T at[N]; };

extern "C" {
float twe_f32_of_f16(unsigned short bits);
unsigned short twe_f16_of_f32(float x);
unsigned short twe_bf16_of_f32(float x);
unsigned twe_tf32_of_f32(float x);
void twe_poisoned(int line);
}

// Memory never written and accumulators in flight hold all ones, a NaN that arithmetic hands on unchanged.
template <class T> inline void twe_refuse_poison(const T&, int) {}
inline void twe_refuse_poison(const float& x, int line) {
    if (tw_reinterpret<unsigned>(x) == 0xffffffffu) twe_poisoned(line);
}
template <int N> inline void twe_refuse_poison(const tw_vec<float, N>& x, int line) {
    for (int i = 0; i < N; ++i) twe_refuse_poison(x.at[i], line);
}

inline float tw_f32(tw_f16 x) { return twe_f32_of_f16(x.bits); }
inline float tw_f32(tw_bf16 x) { return tw_reinterpret<float>((unsigned)x.bits << 16); }
inline tw_f16 tw_to_f16(float x, TWE_LINE) { return twe_refuse_poison(x, line), tw_f16{twe_f16_of_f32(x)}; }
inline tw_bf16 tw_to_bf16(float x, TWE_LINE) { return twe_refuse_poison(x, line), tw_bf16{twe_bf16_of_f32(x)}; }
inline unsigned tw_to_tf32(float x) { return twe_tf32_of_f32(x); }

// -- memory -----------------------------------------------------------------------------------------------------------

extern "C" {
void twe_check_load(const void* p, int bytes, int line);
void twe_check_load_const(const void* p, int bytes, int line);
void twe_check_store(void* p, int bytes, const void* value, int line);
}

template <class T> inline T tw_load(const T* p, TWE_LINE) {
    twe_check_load(p, sizeof(T), line);
    return *p;
}
template <class T> inline T tw_load_const(const T* p, TWE_LINE) {
    twe_check_load_const(p, sizeof(T), line);
    return *p;
}
inline unsigned tw_load_word(const void* p, TWE_LINE) { return tw_load((const unsigned*)p, line); }
template <class T> inline void tw_store(T* p, T v, TWE_LINE) {
    twe_refuse_poison(v, line);
    twe_check_store(p, sizeof(T), &v, line);
    *p = v;
}

// -- barriers and shuffles --------------------------------------------------------------------------------------------

extern "C" {
void twe_barrier(int line);
void twe_barrier_named(int id, int threads, int wait, int line);
void twe_barrier_warp(int line);
void twe_barrier_cluster(int line);
void twe_shuffle(void* value, int bytes, int kind, int argument, int line);  // kind: 0 xor, 1 down, 2 of a lane
}

inline void tw_barrier(TWE_LINE) { twe_barrier(line); }
inline void tw_warp_barrier(TWE_LINE) { twe_barrier_warp(line); }
inline void tw_cluster_barrier(TWE_LINE) { twe_barrier_cluster(line); }
inline void tw_barrier_named(int id, int threads, TWE_LINE) { twe_barrier_named(id, threads, 1, line); }
inline void tw_barrier_named_arrive(int id, int threads, TWE_LINE) { twe_barrier_named(id, threads, 0, line); }
template <class T> inline T tw_shuffle_xor(T v, int mask, TWE_LINE) {
    return twe_shuffle(&v, sizeof(T), 0, mask, line), v;
}
template <class T> inline T tw_shuffle_down(T v, int delta, TWE_LINE) {
    return twe_shuffle(&v, sizeof(T), 1, delta, line), v;
}
template <class T> inline T tw_shuffle(T v, int lane, TWE_LINE) {
    return twe_shuffle(&v, sizeof(T), 2, lane, line), v;
}

// -- asynchronous copies ----------------------------------------------------------------------------------------------

struct alignas(128) tw_tensor_map { unsigned long long opaque[16]; };
typedef unsigned long long tw_mbar;

extern "C" {
void twe_cp_async(void* shared, const void* global, int bytes, int valid_bytes, int line);
void twe_cp_async_commit(int line);
void twe_cp_async_wait(int groups, int line);
void twe_mbar_init(tw_mbar* barrier, int arrivals, int line);
void twe_mbar_fence_init(int line);
void twe_mbar_arrive(tw_mbar* barrier, int expected_bytes, int line);
void twe_mbar_arrive_cluster(tw_mbar* barrier, int rank, int line);
void twe_mbar_wait(tw_mbar* barrier, int parity, int line);
void twe_fence_async(int line);
void twe_tma_load(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int rank, const int* at, int mask,
                  int line);
void twe_tma_store(const tw_tensor_map* map, const void* shared, const int* at, int line);
void twe_tma_store_commit(int line);
void twe_tma_store_wait(int groups, int line);
void twe_setmaxnreg(int registers, int line);
}

template <int BYTES> inline void tw_cp_async(void* shared, const void* global, int valid_bytes, TWE_LINE) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
    twe_cp_async(shared, global, BYTES, valid_bytes, line);
}
inline void tw_cp_async_commit(TWE_LINE) { twe_cp_async_commit(line); }
template <int N> inline void tw_cp_async_wait(TWE_LINE) { twe_cp_async_wait(N, line); }

inline void tw_mbar_init(tw_mbar* barrier, int arrivals, TWE_LINE) { twe_mbar_init(barrier, arrivals, line); }
inline void tw_mbar_fence_init(TWE_LINE) { twe_mbar_fence_init(line); }
inline void tw_mbar_arrive(tw_mbar* barrier, TWE_LINE) { twe_mbar_arrive(barrier, 0, line); }
inline void tw_mbar_expect_tx(tw_mbar* barrier, int bytes, TWE_LINE) { twe_mbar_arrive(barrier, bytes, line); }
inline void tw_mbar_wait(tw_mbar* barrier, int parity, TWE_LINE) { twe_mbar_wait(barrier, parity, line); }
inline void tw_mbar_arrive_cluster(tw_mbar* barrier, int rank, TWE_LINE) {
    twe_mbar_arrive_cluster(barrier, rank, line);
}
inline void tw_fence_async(TWE_LINE) { twe_fence_async(line); }

inline void tw_tma_load_2d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1, TWE_LINE) {
    const int at[] = {c0, c1};
    twe_tma_load(shared, map, barrier, 2, at, 0, line);
}
inline void tw_tma_load_3d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1, int c2, TWE_LINE) {
    const int at[] = {c0, c1, c2};
    twe_tma_load(shared, map, barrier, 3, at, 0, line);
}
inline void tw_tma_load_4d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1, int c2, int c3,
                           TWE_LINE) {
    const int at[] = {c0, c1, c2, c3};
    twe_tma_load(shared, map, barrier, 4, at, 0, line);
}
inline void tw_tma_load_2d_multicast(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1,
                                     unsigned short mask, TWE_LINE) {
    const int at[] = {c0, c1};
    twe_tma_load(shared, map, barrier, 2, at, mask | 0x10000, line);
}
inline void tw_tma_store_2d(const tw_tensor_map* map, const void* shared, int c0, int c1, TWE_LINE) {
    const int at[] = {c0, c1};
    twe_tma_store(map, shared, at, line);
}
inline void tw_tma_store_commit(TWE_LINE) { twe_tma_store_commit(line); }
template <int N> inline void tw_tma_store_wait(TWE_LINE) { twe_tma_store_wait(N, line); }
template <int N> inline void tw_setmaxnreg_inc(TWE_LINE) { twe_setmaxnreg(N, line); }
template <int N> inline void tw_setmaxnreg_dec(TWE_LINE) { twe_setmaxnreg(N, line); }

// -- matrix instructions ----------------------------------------------------------------------------------------------

extern "C" {
void twe_ldmatrix(unsigned* r, const void* row, int matrices, int transposed, int line);
void twe_stmatrix(void* row, const unsigned* r, int line);
void twe_mma(void* d, const unsigned* a, const unsigned* b, int kind, int line);  // kind: 0 f16, 1 bf16, 2 tf32, 3 s8
unsigned long long twe_wgmma_desc(const void* shared, int swizzle, int leading_bytes, int stride_bytes, int line);
void twe_wgmma(float* d, unsigned long long a, unsigned long long b, int scale_d, int n, int flags, int line);
void twe_wgmma_fence(int line);
void twe_wgmma_commit(int line);
void twe_wgmma_wait(int groups, int line);
}

inline void tw_ldmatrix_x4(unsigned (&r)[4], const void* row, TWE_LINE) { twe_ldmatrix(r, row, 4, 0, line); }
inline void tw_ldmatrix_x4_trans(unsigned (&r)[4], const void* row, TWE_LINE) { twe_ldmatrix(r, row, 4, 1, line); }
inline void tw_ldmatrix_x2(unsigned (&r)[2], const void* row, TWE_LINE) { twe_ldmatrix(r, row, 2, 0, line); }
inline void tw_ldmatrix_x2_trans(unsigned (&r)[2], const void* row, TWE_LINE) { twe_ldmatrix(r, row, 2, 1, line); }
inline void tw_stmatrix_x4(void* row, const unsigned (&r)[4], TWE_LINE) { twe_stmatrix(row, r, line); }

#define TWE_MMA(name, type, kind)                                                                                  \
    inline void name(type (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], TWE_LINE) {                     \
        twe_mma(d, a, b, kind, line);                                                                              \
    }
TWE_MMA(tw_mma_m16n8k16_f16, float, 0)
TWE_MMA(tw_mma_m16n8k16_bf16, float, 1)
TWE_MMA(tw_mma_m16n8k8_tf32, float, 2)
TWE_MMA(tw_mma_m16n8k32_s8, int, 3)

inline int tw_dp4a_s8s8(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int)(signed char)(a >> i) * (signed char)(b >> i);
    return c;
}
inline int tw_dp4a_u8s8(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int)(unsigned char)(a >> i) * (signed char)(b >> i);
    return c;
}

inline void tw_wgmma_fence(TWE_LINE) { twe_wgmma_fence(line); }
inline void tw_wgmma_commit(TWE_LINE) { twe_wgmma_commit(line); }
template <int N> inline void tw_wgmma_wait(TWE_LINE) { twe_wgmma_wait(N, line); }
inline unsigned long long tw_wgmma_desc(const void* shared, int swizzle, int leading_bytes, int stride_bytes,
                                        TWE_LINE) {
    return twe_wgmma_desc(shared, swizzle, leading_bytes, stride_bytes, line);
}
template <int N, int TRANS_A = 0, int TRANS_B = 0>
inline void tw_wgmma_f16(float (&d)[N / 2], unsigned long long a, unsigned long long b, int scale_d, TWE_LINE) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma has 8 to 256 columns, in steps of 8");
    twe_wgmma(d, a, b, scale_d, N, TRANS_A | TRANS_B << 1, line);
}
template <int N, int TRANS_A = 0, int TRANS_B = 0>
inline void tw_wgmma_bf16(float (&d)[N / 2], unsigned long long a, unsigned long long b, int scale_d, TWE_LINE) {
    static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma has 8 to 256 columns, in steps of 8");
    twe_wgmma(d, a, b, scale_d, N, TRANS_A | TRANS_B << 1 | 4, line);
}

// -- maths: float is computed in double and rounded once --------------------------------------------------------------

#define TWE_MATHS_1(name, expression)                            \
    inline double tw_##name(double x) { return expression; }     \
    inline float tw_##name(float y) {                            \
        const double x = y;                                      \
        return (float)(expression);                              \
    }
#define TWE_MATHS_2(name, expression)                            \
    inline double tw_##name(double x, double y) { return expression; } \
    inline float tw_##name(float a, float b) {                   \
        const double x = a, y = b;                               \
        return (float)(expression);                              \
    }
TWE_MATHS_1(exp, __builtin_exp(x))
TWE_MATHS_1(exp2, __builtin_exp2(x))
TWE_MATHS_1(exp10, __builtin_pow(10.0, x))
TWE_MATHS_1(log, __builtin_log(x))
TWE_MATHS_1(log2, __builtin_log2(x))
TWE_MATHS_1(log10, __builtin_log10(x))
TWE_MATHS_1(log1p, __builtin_log1p(x))
TWE_MATHS_1(sqrt, __builtin_sqrt(x))
TWE_MATHS_1(rsqrt, 1.0 / __builtin_sqrt(x))
TWE_MATHS_1(tanh, __builtin_tanh(x))
TWE_MATHS_1(sigmoid, 1.0 / (1.0 + __builtin_exp(-x)))
TWE_MATHS_1(erf, __builtin_erf(x))
TWE_MATHS_1(sin, __builtin_sin(x))
TWE_MATHS_1(cos, __builtin_cos(x))
TWE_MATHS_1(tan, __builtin_tan(x))
TWE_MATHS_1(asin, __builtin_asin(x))
TWE_MATHS_1(acos, __builtin_acos(x))
TWE_MATHS_1(atan, __builtin_atan(x))
TWE_MATHS_1(sinh, __builtin_sinh(x))
TWE_MATHS_1(cosh, __builtin_cosh(x))
TWE_MATHS_1(asinh, __builtin_asinh(x))
TWE_MATHS_1(acosh, __builtin_acosh(x))
TWE_MATHS_1(atanh, __builtin_atanh(x))
TWE_MATHS_1(floor, __builtin_floor(x))
TWE_MATHS_1(ceil, __builtin_ceil(x))
TWE_MATHS_1(trunc, __builtin_trunc(x))
TWE_MATHS_1(round, __builtin_round(x))          // ties away from zero
TWE_MATHS_1(nearbyint, __builtin_nearbyint(x))  // ties to the even neighbour
TWE_MATHS_1(abs, __builtin_fabs(x))
TWE_MATHS_2(pow, __builtin_pow(x, y))
TWE_MATHS_2(atan2, __builtin_atan2(x, y))
TWE_MATHS_2(fmod, __builtin_fmod(x, y))
TWE_MATHS_2(hypot, __builtin_hypot(x, y))
TWE_MATHS_2(copysign, __builtin_copysign(x, y))
inline float tw_nextafter(float x, float y) { return __builtin_nextafterf(x, y); }
inline double tw_nextafter(double x, double y) { return __builtin_nextafter(x, y); }
inline float tw_ldexp(float x, int power) { return (float)__builtin_ldexp(x, power); }
inline double tw_ldexp(double x, int power) { return __builtin_ldexp(x, power); }
inline float tw_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double tw_fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline bool tw_isnan(float x) { return __builtin_isnan(x); }
inline bool tw_isnan(double x) { return __builtin_isnan(x); }
inline bool tw_isinf(float x) { return __builtin_isinf(x); }
inline bool tw_isinf(double x) { return __builtin_isinf(x); }
inline bool tw_isfinite(float x) { return __builtin_isfinite(x); }
inline bool tw_isfinite(double x) { return __builtin_isfinite(x); }

inline int tw_abs(int x) { return (int)(x < 0 ? 0u - (unsigned)x : (unsigned)x); }
inline long long tw_abs(long long x) {
    return (long long)(x < 0 ? 0ull - (unsigned long long)x : (unsigned long long)x);
}
inline int tw_popcount(unsigned x) { return __builtin_popcount(x); }
inline int tw_popcount(int x) { return __builtin_popcount((unsigned)x); }
inline int tw_popcount(unsigned long long x) { return __builtin_popcountll(x); }
inline int tw_popcount(long long x) { return __builtin_popcountll((unsigned long long)x); }
inline int tw_clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
inline int tw_clz(int x) { return tw_clz((unsigned)x); }
inline int tw_clz(unsigned long long x) { return x ? __builtin_clzll(x) : 64; }
inline int tw_clz(long long x) { return tw_clz((unsigned long long)x); }
inline int tw_floordiv(int a, int b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
inline long long tw_floordiv(long long a, long long b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
inline unsigned tw_floordiv(unsigned a, unsigned b) { return a / b; }
inline unsigned long long tw_floordiv(unsigned long long a, unsigned long long b) { return a / b; }
inline int tw_floormod(int a, int b) { return a % b + (a % b != 0 && (a ^ b) < 0 ? b : 0); }
inline long long tw_floormod(long long a, long long b) { return a % b + (a % b != 0 && (a ^ b) < 0 ? b : 0); }
inline unsigned tw_floormod(unsigned a, unsigned b) { return a % b; }
inline unsigned long long tw_floormod(unsigned long long a, unsigned long long b) { return a % b; }

// -- how the runtime calls a kernel: one entry for each, made by TWE_ENTRY after the text -----------------------------

template <int... I> struct twe_indices {};
template <int N, int... I> struct twe_count : twe_count<N - 1, N - 1, I...> {};
template <int... I> struct twe_count<0, I...> { typedef twe_indices<I...> type; };

template <class... A, int... I> inline void twe_apply(void (*kernel)(A...), void* const* argv, twe_indices<I...>) {
    kernel(*(A*)argv[I]...);
}
template <class... A> inline void twe_call(void (*kernel)(A...), void* const* argv) {
    twe_apply(kernel, argv, typename twe_count<sizeof...(A)>::type());
}

// Kinds of parameters: 0 a value, 1 a pointer to what is only read, 2 a pointer to what may be written.
template <class T> struct twe_kind { static constexpr int value = 0; };
template <class T> struct twe_kind<T*> { static constexpr int value = 2; };
template <class T> struct twe_kind<const T*> { static constexpr int value = 1; };

template <class... A> inline int twe_describe(void (*)(A...), int* kinds, int* sizes) {
    const int all_kinds[] = {twe_kind<A>::value..., 0}, all_sizes[] = {(int)sizeof(A)..., 0};
    for (int i = 0; i < (int)sizeof...(A) && i < 256; ++i) kinds[i] = all_kinds[i], sizes[i] = all_sizes[i];
    return sizeof...(A);
}

#define TWE_ENTRY(name)                                                       \
    extern "C" void name##__entry(void* const* argv) { twe_call(name, argv); } \
    extern "C" int name##__parameters(int* kinds, int* sizes) { return twe_describe(name, kinds, sizes); }
