// GELU by the error function: y = x P(x) with P(x) = (1 + erf(x / sqrt(2))) / 2, dy/dx = P(x) + x p(x) with
// p(x) = exp(-x^2 / 2) / sqrt(2 pi).
// The bias before it is added by the matrix product.
//
// A thread per W elements; 256 threads per block. Bound by memory: two packs forward, three backward.
#include "../base/cuda/common.cuh"

static constexpr float ROOT_HALF = 0.7071067811865476f, DENSITY_AT_0 = 0.3989422804014327f;

static __device__ float distribution(float x) { return 0.5f + 0.5f * erff(x * ROOT_HALF); }

template <typename T, int W> static __device__ void forward(const T* x, T* y, unsigned long long threads) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  float a[W];
  load<T, W>(x + thread * W, a);
#pragma unroll
  for (int k = 0; k < W; k++) a[k] *= distribution(a[k]);
  store<T, W>(y + thread * W, a);
}

template <typename T, int W>
static __device__ void backward(const T* x, const T* d_y, T* d_x, unsigned long long threads) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  float a[W], d[W];
  load<T, W>(x + thread * W, a);
  load<T, W>(d_y + thread * W, d);
#pragma unroll
  for (int k = 0; k < W; k++) {
    d[k] *= distribution(a[k]) + a[k] * DENSITY_AT_0 * __expf(-0.5f * a[k] * a[k]);
  }
  store<T, W>(d_x + thread * W, d);
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void gelu_erf_forward_##suffix(                                                  \
      const T* __restrict__ x, T* __restrict__ y, unsigned long long threads) {                          \
    forward<T, W>(x, y, threads);                                                                        \
  }                                                                                                      \
  extern "C" __global__ void gelu_erf_backward_##suffix(                                                 \
      const T* __restrict__ x, const T* __restrict__ d_y, T* __restrict__ d_x, unsigned long long threads) { \
    backward<T, W>(x, d_y, d_x, threads);                                                                \
  }
FOR_EACH_TYPE(KERNELS)
