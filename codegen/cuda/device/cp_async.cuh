// Copies from global to shared memory that pass no register and are waited for in groups.

template <int BYTES> TW_DEVICE void tw_cp_async(void* shared, const void* global, int valid_bytes) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
    const unsigned to = tw_shared_address_(shared);
    if constexpr (BYTES == 16) {  // past the L1 cache, which other threads of the block would not hit
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     ::"r"(to), "l"(global), "r"(valid_bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;"
                     ::"r"(to), "l"(global), "r"(valid_bytes), "n"(BYTES) : "memory");
    }
}
TW_DEVICE void tw_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> TW_DEVICE void tw_cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
