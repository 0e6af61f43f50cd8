// Matrix products of a warpgroup, 128 threads, with both operands in shared memory (sm_90a).
#ifdef __CUDA_ARCH_FEAT_SM90_ALL

TW_DEVICE void tw_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TW_DEVICE void tw_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> TW_DEVICE void tw_wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Matrix descriptor: offsets count 16 bytes; bits 62 and 63 say 1 for a swizzle of 128 bytes, 2 for 64, 3 for 32.
TW_DEVICE unsigned long long tw_wgmma_desc(const void* shared, int swizzle, int leading_bytes, int stride_bytes) {
    const unsigned long long mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    return (tw_shared_address_(shared) & 0x3ffffu) >> 4 | static_cast<unsigned long long>(leading_bytes >> 4) << 16 |
           static_cast<unsigned long long>(stride_bytes >> 4) << 32 | mode << 62;
}

// d (64, N) over the warpgroup = a (64, 16) b (16, N), added to d unless scale_d is 0.
template <class T, int N> struct tw_wgmma_step_;
template <int N, int TRANS_A = 0, int TRANS_B = 0>
TW_DEVICE void tw_wgmma_f16(float (&d)[N / 2], unsigned long long a, unsigned long long b, int scale_d) {
    tw_wgmma_step_<tw_f16, N>::template issue<TRANS_A, TRANS_B>(d, a, b, scale_d);
}
template <int N, int TRANS_A = 0, int TRANS_B = 0>
TW_DEVICE void tw_wgmma_bf16(float (&d)[N / 2], unsigned long long a, unsigned long long b, int scale_d) {
    tw_wgmma_step_<tw_bf16, N>::template issue<TRANS_A, TRANS_B>(d, a, b, scale_d);
}

#endif
