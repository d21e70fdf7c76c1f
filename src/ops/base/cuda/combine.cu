// y = a + b, y = a + b * factors, y = a * factors, element by element.
//
// A thread per W elements; 256 threads per block. Bound by memory.
#include "common.cuh"

// `a` and `factors` may be null: then nothing is added, or the factors are 1.
template <typename T, int W>
static __device__ void combined(const T* a, const T* b, const T* factors, T* y, unsigned long long threads) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  float sum[W];
  load<T, W>(b + thread * W, sum);
  if (factors != nullptr) {
    float factor[W];
    load<T, W>(factors + thread * W, factor);
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] *= factor[k];
  }
  if (a != nullptr) {
    float base[W];
    load<T, W>(a + thread * W, base);
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] += base[k];
  }
  store<T, W>(y + thread * W, sum);
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void combine_##suffix(                                                               \
      const T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ factors, T* __restrict__ y, \
      unsigned long long threads) {                                                                      \
    combined<T, W>(a, b, factors, y, threads);                                                            \
  }
FOR_EACH_TYPE(KERNELS)
