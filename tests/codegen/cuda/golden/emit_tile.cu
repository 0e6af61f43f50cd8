(128, 0) f0_kernel0(
    const tw_f16* __restrict__ A,
    float* __restrict__ B) {
  const int blockIdx_x = tw_block_x();
  const int blockIdx_y = tw_block_y();
  const int threadIdx_x = tw_thread_x();
  const int threadIdx_y = tw_thread_y();
  tw_f16* const A_shared = (tw_f16*)(tw_shared() + 0);
  for (int ax0_i = 0; ax0_i < 2; ++ax0_i) {
    {
      const tw_vec<tw_f16, 2> v0 = tw_load_const((const tw_vec<tw_f16, 2>*)(A + (blockIdx_x*2048 + threadIdx_y*128 + ax0_i*64 + blockIdx_y*16 + threadIdx_x*2)));
      tw_store((tw_vec<tw_f16, 2>*)(A_shared + (threadIdx_y*36 + ax0_i*18 + threadIdx_x*2)), v0);
    }
  }
  tw_barrier();
  {
    tw_vec<float, 4> v1;
    v1.at[0] = (tw_f32(tw_load(A_shared + (threadIdx_x*72 + threadIdx_y))) * 2.0f) + 1.0f;
    v1.at[1] = (tw_f32(tw_load(A_shared + (threadIdx_x*72 + threadIdx_y + 18))) * 2.0f) + 1.0f;
    v1.at[2] = (tw_f32(tw_load(A_shared + (threadIdx_x*72 + threadIdx_y + 36))) * 2.0f) + 1.0f;
    v1.at[3] = (tw_f32(tw_load(A_shared + (threadIdx_x*72 + threadIdx_y + 54))) * 2.0f) + 1.0f;
    tw_store((tw_vec<float, 4>*)(B + (blockIdx_y*1024 + threadIdx_y*64 + blockIdx_x*32 + threadIdx_x*4)), v1);
  }
}
