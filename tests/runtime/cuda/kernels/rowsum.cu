// y (rows) = sums of the rows of x (rows, n).  A block sums a row: 128 threads, then lanes, then the four warps.
TW_KERNEL(128, 0) rowsum(float* __restrict__ y, const float* __restrict__ x, int n) {
    float* partial = (float*)tw_shared();  // [4]
    const int t = tw_thread_x(), row = tw_block_x();
    float sum = 0.0f;
    for (int i = t; i < n; i += 128) sum += tw_load_const(x + row * n + i);
    for (int delta = 16; delta > 0; delta /= 2) sum += tw_shuffle_down(sum, delta);
    if (t % 32 == 0) tw_store(partial + t / 32, sum);
    tw_barrier();
    float all = tw_load(partial + t % 4);
    all += tw_shuffle_xor(all, 1);
    all += tw_shuffle_xor(all, 2);
    if (t == 0) tw_store(y + row, all);
}
