// GELU in its tanh form: y = x / (1 + exp(-2u)), 2u = (first + third x^2) x with first = 2 sqrt(2 / pi) and
// third = 0.044715 first. With s = 1 / (1 + exp(-2u)): dy/dx = s + x s (1 - s) (first + 3 third x^2).
// The bias before it is added by the matrix product.
//
// A thread per W elements; 256 threads per block. Bound by memory: two packs forward, three backward.
#include "../base/cuda/common.cuh"

static constexpr float FIRST = 1.5957691216057308f, THIRD = 0.07135481282830025f;

template <typename T, int W> static __device__ void forward(const T* x, T* y, unsigned long long threads) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  float a[W];
  load<T, W>(x + thread * W, a);
#pragma unroll
  for (int k = 0; k < W; k++) a[k] /= 1.0f + __expf(-(FIRST + THIRD * a[k] * a[k]) * a[k]);
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
    const float square = a[k] * a[k];
    const float s = 1.0f / (1.0f + __expf(-(FIRST + THIRD * square) * a[k]));
    d[k] *= s * (1.0f + a[k] * (1.0f - s) * (FIRST + 3.0f * THIRD * square));
  }
  store<T, W>(d_x + thread * W, d);
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void gelu_forward_##suffix(                                                      \
      const T* __restrict__ x, T* __restrict__ y, unsigned long long threads) {                          \
    forward<T, W>(x, y, threads);                                                                        \
  }                                                                                                      \
  extern "C" __global__ void gelu_backward_##suffix(                                                     \
      const T* __restrict__ x, const T* __restrict__ d_y, T* __restrict__ d_x, unsigned long long threads) { \
    backward<T, W>(x, d_y, d_x, threads);                                                                \
  }
FOR_EACH_TYPE(KERNELS)
