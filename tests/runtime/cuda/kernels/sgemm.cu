// C (M, N) = A (M, K) B (K, N), float32, row-major; M and N multiples of 128, K of 16.
//
// 256 threads hold 8 x 8 results each, as 2 x 2 squares of 4 x 4.  A's tile lies transposed in shared memory, with 4
// elements of padding.  Two stages: what the next step reads is loaded into registers before the products of this one.
TW_KERNEL(256, 2)
sgemm(float* __restrict__ C, const float* __restrict__ A, const float* __restrict__ B, int M, int N, int K) {
    float* As = (float*)tw_shared();            // [2][16][132], transposed
    float* Bs = (float*)(tw_shared() + 16896);  // [2][16][128]
    const int t = tw_thread_x();
    const int bm = tw_block_y() * 128, bn = tw_block_x() * 128;
    const int ty = t / 16, tx = t % 16;
    float acc[64];
    TW_UNROLL for (int i = 0; i < 64; ++i)
        acc[i] = 0.0f;
    tw_vec<float, 4> fa[2], fb[2];
    const float* pa = A + (bm + t / 4) * K + t % 4 * 4;
    const float* pb = B + (t / 32) * N + bn + t % 32 * 4;
    TW_UNROLL for (int i = 0; i < 2; ++i)
        fa[i] = tw_load_const((const tw_vec<float, 4>*)(pa + i * 64 * K));
    TW_UNROLL for (int i = 0; i < 2; ++i)
        fb[i] = tw_load_const((const tw_vec<float, 4>*)(pb + i * 8 * N));
    TW_UNROLL for (int i = 0; i < 2; ++i)
        TW_UNROLL for (int j = 0; j < 4; ++j) tw_store(As + (t % 4 * 4 + j) * 132 + t / 4 + i * 64, fa[i].at[j]);
    TW_UNROLL for (int i = 0; i < 2; ++i)
        tw_store((tw_vec<float, 4>*)(Bs + (t / 32 + 8 * i) * 128 + t % 32 * 4), fb[i]);
    tw_barrier();
    const int steps = K / 16;
    TW_NO_UNROLL for (int k = 0; k < steps; ++k) {
        const int now = k & 1, next = now ^ 1;
        if (k + 1 < steps) {
            TW_UNROLL for (int i = 0; i < 2; ++i)
                fa[i] = tw_load_const((const tw_vec<float, 4>*)(pa + i * 64 * K + (k + 1) * 16));
            TW_UNROLL for (int i = 0; i < 2; ++i)
                fb[i] = tw_load_const((const tw_vec<float, 4>*)(pb + i * 8 * N + (k + 1) * 16 * N));
        }
        TW_UNROLL for (int kk = 0; kk < 16; ++kk) {
            tw_vec<float, 4> a[2], b[2];
            TW_UNROLL for (int i = 0; i < 2; ++i)
                a[i] = tw_load((const tw_vec<float, 4>*)(As + now * 16 * 132 + kk * 132 + ty * 4 + i * 64));
            TW_UNROLL for (int i = 0; i < 2; ++i)
                b[i] = tw_load((const tw_vec<float, 4>*)(Bs + now * 16 * 128 + kk * 128 + tx * 4 + i * 64));
            TW_UNROLL for (int i = 0; i < 8; ++i)
                TW_UNROLL for (int j = 0; j < 8; ++j) acc[i * 8 + j] += a[i / 4].at[i % 4] * b[j / 4].at[j % 4];
        }
        if (k + 1 < steps) {
            TW_UNROLL for (int i = 0; i < 2; ++i)
                TW_UNROLL for (int j = 0; j < 4; ++j)
                    tw_store(As + next * 16 * 132 + (t % 4 * 4 + j) * 132 + t / 4 + i * 64, fa[i].at[j]);
            TW_UNROLL for (int i = 0; i < 2; ++i)
                tw_store((tw_vec<float, 4>*)(Bs + next * 16 * 128 + (t / 32 + 8 * i) * 128 + t % 32 * 4), fb[i]);
        }
        tw_barrier();
    }
    TW_UNROLL for (int i = 0; i < 8; ++i)
        TW_UNROLL for (int j = 0; j < 2; ++j) {
            tw_vec<float, 4> v;
            TW_UNROLL for (int e = 0; e < 4; ++e) v.at[e] = acc[i * 8 + j * 4 + e];
            tw_store((tw_vec<float, 4>*)(C + (bm + ty * 4 + i / 4 * 64 + i % 4) * N + bn + tx * 4 + j * 64), v);
        }
}
