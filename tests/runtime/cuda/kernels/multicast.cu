// C (M, N) float32 = A (M, K) B (N, K) transposed, float16, K innermost; M a multiple of 128, N and K of 64.
//
// Two blocks of a cluster hold 64 x 64 results each, above one another: each loads its own rows of A, and half of the
// tile of B for both.  A stage is empty once the consumers of both blocks are done with it.
TW_KERNEL(160, 1) TW_CLUSTER(2, 1, 1)
multicast(const TW_GRID_CONSTANT tw_tensor_map mapA, const TW_GRID_CONSTANT tw_tensor_map mapB, float* __restrict__ C,
          int N, int K) {
    unsigned char* s = tw_shared();
    tw_mbar* full = (tw_mbar*)(s + 32768);
    tw_mbar* empty = full + 2;
    const int t = tw_thread_x(), rank = tw_cluster_rank();
    const int bm = tw_block_x() * 64, bn = tw_block_y() * 64;
    if (t == 0) {
        for (int i = 0; i < 2; ++i) {
            tw_mbar_init(full + i, 1);
            tw_mbar_init(empty + i, 2);
        }
        tw_mbar_fence_init();
    }
    tw_cluster_barrier();
    if (t == 128) {
        for (int k = 0; k < K / 64; ++k) {
            const int stage = k % 2, phase = k / 2 % 2;
            tw_mbar_wait(empty + stage, phase ^ 1);
            tw_mbar_expect_tx(full + stage, 16384);
            tw_tma_load_2d(s + stage * 16384, &mapA, full + stage, k * 64, bm);
            tw_tma_load_2d_multicast(s + stage * 16384 + 8192 + rank * 4096, &mapB, full + stage, k * 64,
                                     bn + rank * 32, 3);
        }
    }
    if (t < 128) {
        float d[32];
        for (int k = 0; k < K / 64; ++k) {
            const int stage = k % 2, phase = k / 2 % 2;
            const unsigned long long a = tw_wgmma_desc(s + stage * 16384, 128, 16, 1024);
            const unsigned long long b = tw_wgmma_desc(s + stage * 16384 + 8192, 128, 16, 1024);
            tw_mbar_wait(full + stage, phase);
            tw_wgmma_fence();
            TW_UNROLL for (int kk = 0; kk < 4; ++kk) tw_wgmma_f16<64>(d, a + 2 * kk, b + 2 * kk, k + kk > 0);
            tw_wgmma_commit();
            tw_wgmma_wait<0>();
            if (t < 2) tw_mbar_arrive_cluster(empty + stage, t);
        }
        float* mine = C + (bm + t / 32 * 16 + t % 32 / 4) * N + bn + t % 4 * 2;
        TW_UNROLL for (int j = 0; j < 8; ++j) {
            tw_vec<float, 2> v;
            v.at[0] = d[4 * j];
            v.at[1] = d[4 * j + 1];
            tw_store((tw_vec<float, 2>*)(mine + j * 8), v);
            v.at[0] = d[4 * j + 2];
            v.at[1] = d[4 * j + 3];
            tw_store((tw_vec<float, 2>*)(mine + 8 * N + j * 8), v);
        }
    }
    tw_cluster_barrier();  // no block ends while the other still arrives at its barriers
}
