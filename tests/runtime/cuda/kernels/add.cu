// c = a + b, one thread an element.
TW_KERNEL(256, 0) add(float* __restrict__ c, const float* __restrict__ a, const float* __restrict__ b, int n) {
    const int i = tw_block_x() * 256 + tw_thread_x();
    if (i < n) tw_store(c + i, tw_load_const(a + i) + tw_load_const(b + i));
}
