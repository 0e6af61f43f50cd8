// C (M, N) float32 = A (M, K) B (N, K) transposed, float16, K innermost; M and N multiples of 128, K of 64.
//
// A producer warpgroup fills four stages by tensor copies; two consumer warpgroups multiply 64 x 128 each.  A stage is
// full once its bytes have arrived, and empty once both consumers are done with it, one step later: while one group of
// products is under way, the next is issued.
TW_KERNEL(384, 1)
wgemm(const TW_GRID_CONSTANT tw_tensor_map mapA, const TW_GRID_CONSTANT tw_tensor_map mapB, float* __restrict__ C,
      int M, int N, int K) {
    unsigned char* s = tw_shared();
    tw_mbar* full = (tw_mbar*)(s + 131072);
    tw_mbar* empty = full + 4;
    const int t = tw_thread_x(), group = tw_shuffle(t / 128, 0);  // known to be equal in a warp
    const int bm = tw_block_y() * 128, bn = tw_block_x() * 128;
    const int steps = K / 64;
    if (t == 0) {
        TW_UNROLL for (int i = 0; i < 4; ++i) {
            tw_mbar_init(full + i, 1);
            tw_mbar_init(empty + i, 2);
        }
        tw_mbar_fence_init();
    }
    tw_barrier();
    if (group == 0) {
        tw_setmaxnreg_dec<40>();
        if (t == 0) {
            int stage = 0, phase = 0;
            TW_NO_UNROLL for (int k = 0; k < steps; ++k) {
                tw_mbar_wait(empty + stage, phase ^ 1);
                tw_mbar_expect_tx(full + stage, 32768);
                tw_tma_load_2d(s + stage * 32768, &mapA, full + stage, k * 64, bm);
                tw_tma_load_2d(s + stage * 32768 + 16384, &mapB, full + stage, k * 64, bn);
                if (++stage == 4) {
                    stage = 0;
                    phase ^= 1;
                }
            }
        }
    } else {
        tw_setmaxnreg_inc<232>();
        float d[64];
        int stage = 0, phase = 0;
        int k = 0;
        const unsigned long long base_a = tw_wgmma_desc(s + (group - 1) * 8192, 128, 16, 1024);
        const unsigned long long base_b = tw_wgmma_desc(s + 16384, 128, 16, 1024);
        TW_NO_UNROLL do {
            tw_mbar_wait(full + stage, phase);
            tw_wgmma_fence();
            const unsigned long long a = base_a + (stage * 32768 >> 4), b = base_b + (stage * 32768 >> 4);
            TW_UNROLL for (int kk = 0; kk < 4; ++kk) tw_wgmma_f16<128>(d, a + 2 * kk, b + 2 * kk, k + kk > 0);
            tw_wgmma_commit();
            tw_wgmma_wait<1>();
            if (k > 0 && t % 128 == 0) tw_mbar_arrive(empty + (stage == 0 ? 3 : stage - 1));
            if (++stage == 4) {
                stage = 0;
                phase ^= 1;
            }
        } while (++k < steps);
        tw_wgmma_wait<0>();
        const int w = t % 128 / 32, lane = t % 32;
        float* mine = C + (bm + (group - 1) * 64 + w * 16 + lane / 4) * N + bn + lane % 4 * 2;
        TW_UNROLL for (int j = 0; j < 16; ++j)
            TW_UNROLL for (int h = 0; h < 2; ++h) {
                tw_vec<float, 2> v;
                v.at[0] = d[4 * j + 2 * h];
                v.at[1] = d[4 * j + 2 * h + 1];
                tw_store((tw_vec<float, 2>*)(mine + 8 * h * N + j * 8), v);
            }
    }
}
