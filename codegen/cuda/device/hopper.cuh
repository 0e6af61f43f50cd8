// Barriers in shared memory, tensor copies, clusters, and register budgets of sm_90a.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct alignas(128) tw_tensor_map { unsigned long long opaque[16]; };
typedef unsigned long long tw_mbar;

TW_DEVICE void tw_mbar_init(tw_mbar* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 ::"r"(tw_shared_address_(barrier)), "r"(arrivals) : "memory");
}
TW_DEVICE void tw_mbar_fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
TW_DEVICE void tw_mbar_arrive(tw_mbar* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(tw_shared_address_(barrier)) : "memory");
}
TW_DEVICE void tw_mbar_arrive_cluster(tw_mbar* barrier, int rank) {
    asm volatile("{\n.reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}"
                 ::"r"(tw_shared_address_(barrier)), "r"(rank) : "memory");
}
TW_DEVICE void tw_mbar_expect_tx(tw_mbar* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 ::"r"(tw_shared_address_(barrier)), "r"(bytes) : "memory");
}
#ifdef TW_BOUNDED_SPIN  // tries after which a wait that nothing ends becomes an error instead of a hang
TW_DEVICE void tw_mbar_wait(tw_mbar* barrier, int parity) {
    const unsigned address = tw_shared_address_(barrier);
    for (long long tries = 0; tries < TW_BOUNDED_SPIN; ++tries) {
        int done;
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.b32 %0, 1, 0, p;\n}"
                     : "=r"(done) : "r"(address), "r"(parity) : "memory");
        if (done) return;
    }
    __trap();
}
#else
TW_DEVICE void tw_mbar_wait(tw_mbar* barrier, int parity) {
    asm volatile("{\n.reg .pred p;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra again;\n}"
                 ::"r"(tw_shared_address_(barrier)), "r"(parity) : "memory");
}
#endif

// Orders this thread's writes to shared memory before later tensor copies and wgmma that read them.
TW_DEVICE void tw_fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Tensor copies: c0 is the innermost coordinate; what lies outside the tensor arrives as zero.
TW_DEVICE void tw_tma_load_2d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(tw_shared_address_(shared)), "l"(map), "r"(tw_shared_address_(barrier)), "r"(c0), "r"(c1)
                 : "memory");
}
TW_DEVICE void tw_tma_load_3d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1, int c2) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(tw_shared_address_(shared)), "l"(map), "r"(tw_shared_address_(barrier)), "r"(c0), "r"(c1),
                 "r"(c2) : "memory");
}
TW_DEVICE void tw_tma_load_4d(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1, int c2,
                              int c3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 ::"r"(tw_shared_address_(shared)), "l"(map), "r"(tw_shared_address_(barrier)), "r"(c0), "r"(c1),
                 "r"(c2), "r"(c3) : "memory");
}
// To the same place in every block of the cluster whose bit in `mask` is set.
TW_DEVICE void tw_tma_load_2d_multicast(void* shared, const tw_tensor_map* map, tw_mbar* barrier, int c0, int c1,
                                        unsigned short mask) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(tw_shared_address_(shared)), "l"(map), "r"(tw_shared_address_(barrier)), "r"(c0), "r"(c1),
                 "h"(mask) : "memory");
}
TW_DEVICE void tw_tma_store_2d(const tw_tensor_map* map, const void* shared, int c0, int c1) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"(map), "r"(tw_shared_address_(shared)), "r"(c0), "r"(c1) : "memory");
}
TW_DEVICE void tw_tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until the shared memory of all but the last N groups has been read, and may be written again.
template <int N> TW_DEVICE void tw_tma_store_wait() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

TW_DEVICE void tw_stmatrix_x4(void* row, const unsigned (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(tw_shared_address_(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

template <int N> TW_DEVICE void tw_setmaxnreg_inc() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> TW_DEVICE void tw_setmaxnreg_dec() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

TW_DEVICE int tw_cluster_rank() {
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
TW_DEVICE void tw_cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

#endif
