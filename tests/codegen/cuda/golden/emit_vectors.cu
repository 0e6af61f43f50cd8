(64, 0) f0_kernel0(
    const float* __restrict__ A,
    const float* __restrict__ B,
    float* __restrict__ C,
    const int n) {
  const int blockIdx_x = tw_block_x();
  const int threadIdx_x = tw_thread_x();
  if ((blockIdx_x*64 + threadIdx_x) < n) {
    tw_store(C + ((long long)blockIdx_x*64 + (long long)threadIdx_x), tw_load_const(A + ((long long)blockIdx_x*64 + (long long)threadIdx_x)) + tw_load_const(B + ((long long)blockIdx_x*64 + (long long)threadIdx_x)));
  }
}
