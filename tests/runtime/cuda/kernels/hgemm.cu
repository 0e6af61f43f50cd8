// C (M, N) float32 = A (M, K) B (K, N), float16, row-major; M and N multiples of 128, K of 32 and at least 64.
//
// 4 warps hold 64 x 64 results each.  Three stages of asynchronous copies; the 16-byte pieces of a row of shared memory
// are permuted by the row's number, so that neither copies nor ldmatrix meet a bank twice.
TW_KERNEL(128, 1)
hgemm(float* __restrict__ C, const tw_f16* __restrict__ A, const tw_f16* __restrict__ B, int M, int N, int K) {
    unsigned char* s = tw_shared();
    const int t = tw_thread_x(), lane = t % 32, wy = t / 64, wx = t / 32 % 2;
    const int bm = tw_block_y() * 128, bn = tw_block_x() * 128;
    float acc[4][8][4];
    TW_UNROLL for (int i = 0; i < 4; ++i)
        TW_UNROLL for (int j = 0; j < 8; ++j)
            TW_UNROLL for (int e = 0; e < 4; ++e) acc[i][j][e] = 0.0f;
    const int steps = K / 32;
    TW_UNROLL for (int p = 0; p < 2; ++p) {
        TW_UNROLL for (int i = 0; i < 4; ++i) {
            const int row = t / 4 + 32 * i, piece = t % 4;
            tw_cp_async<16>(s + p * 16384 + row * 64 + ((piece ^ (row / 2 % 4)) * 16),
                            A + (bm + row) * K + p * 32 + piece * 8, 16);
            const int brow = t / 16 + 8 * i, bpiece = t % 16;
            tw_cp_async<16>(s + p * 16384 + 8192 + brow * 256 + ((bpiece ^ (brow % 8)) * 16),
                            B + (p * 32 + brow) * N + bn + bpiece * 8, 16);
        }
        tw_cp_async_commit();
    }
    int stage = 0, fill = 2;
    TW_NO_UNROLL for (int k = 0; k < steps; ++k) {
        tw_cp_async_wait<1>();
        tw_barrier();
        if (k + 2 < steps) {
            TW_UNROLL for (int i = 0; i < 4; ++i) {
                const int row = t / 4 + 32 * i, piece = t % 4;
                tw_cp_async<16>(s + fill * 16384 + row * 64 + ((piece ^ (row / 2 % 4)) * 16),
                                A + (bm + row) * K + (k + 2) * 32 + piece * 8, 16);
                const int brow = t / 16 + 8 * i, bpiece = t % 16;
                tw_cp_async<16>(s + fill * 16384 + 8192 + brow * 256 + ((bpiece ^ (brow % 8)) * 16),
                                B + ((k + 2) * 32 + brow) * N + bn + bpiece * 8, 16);
            }
        }
        tw_cp_async_commit();
        TW_UNROLL for (int kk = 0; kk < 2; ++kk) {
            unsigned a[4][4], b[8][2];
            TW_UNROLL for (int i = 0; i < 4; ++i) {
                const int row = wy * 64 + i * 16 + lane % 16, piece = kk * 2 + lane / 16;
                tw_ldmatrix_x4(a[i], s + stage * 16384 + row * 64 + ((piece ^ (row / 2 % 4)) * 16));
            }
            TW_UNROLL for (int j = 0; j < 4; ++j) {
                unsigned r[4];
                const int row = kk * 16 + lane % 16, piece = wx * 8 + j * 2 + lane / 16;
                tw_ldmatrix_x4_trans(r, s + stage * 16384 + 8192 + row * 256 + ((piece ^ (row % 8)) * 16));
                b[2 * j][0] = r[0];
                b[2 * j][1] = r[1];
                b[2 * j + 1][0] = r[2];
                b[2 * j + 1][1] = r[3];
            }
            TW_UNROLL for (int i = 0; i < 4; ++i)
                TW_UNROLL for (int j = 0; j < 8; ++j) tw_mma_m16n8k16_f16(acc[i][j], a[i], b[j]);
        }
        stage = stage == 2 ? 0 : stage + 1;
        fill = fill == 2 ? 0 : fill + 1;
    }
    float* mine = C + (bm + wy * 64 + lane / 4) * N + bn + wx * 64 + lane % 4 * 2;
    TW_UNROLL for (int i = 0; i < 4; ++i)
        TW_UNROLL for (int j = 0; j < 8; ++j)
            TW_UNROLL for (int h = 0; h < 2; ++h) {
                tw_vec<float, 2> v;
                v.at[0] = acc[i][j][2 * h];
                v.at[1] = acc[i][j][2 * h + 1];
                tw_store((tw_vec<float, 2>*)(mine + (i * 16 + 8 * h) * N + j * 8), v);
            }
}
