// SwiGLU of rows (gate | up): y = gate sigmoid(gate) up.
// With s = sigmoid(gate): d_up = d_y gate s, d_gate = d_y up s (1 + gate (1 - s)).
//
// A thread per W elements of y; 256 threads per block. Bound by memory: three packs forward, five backward.
#include "../base/cuda/common.cuh"

template <typename T, int W>
static __device__ void forward(const T* x, T* y, unsigned long long threads, int columns) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  const int packs = columns / W;
  const unsigned long long row = thread / packs;
  const int i = (int)(thread % packs) * W;
  float gate[W], up[W];
  load<T, W>(x + row * 2 * columns + i, gate);
  load<T, W>(x + row * 2 * columns + columns + i, up);
#pragma unroll
  for (int k = 0; k < W; k++) gate[k] = gate[k] / (1.0f + __expf(-gate[k])) * up[k];
  store<T, W>(y + row * columns + i, gate);
}

template <typename T, int W>
static __device__ void backward(const T* x, const T* d_y, T* d_x, unsigned long long threads, int columns) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  const int packs = columns / W;
  const unsigned long long row = thread / packs;
  const int i = (int)(thread % packs) * W;
  float gate[W], up[W], d[W];
  load<T, W>(x + row * 2 * columns + i, gate);
  load<T, W>(x + row * 2 * columns + columns + i, up);
  load<T, W>(d_y + row * columns + i, d);
#pragma unroll
  for (int k = 0; k < W; k++) {
    const float s = 1.0f / (1.0f + __expf(-gate[k]));
    const float d_gate = d[k] * up[k] * s * (1.0f + gate[k] * (1.0f - s));
    up[k] = d[k] * gate[k] * s;
    gate[k] = d_gate;
  }
  store<T, W>(d_x + row * 2 * columns + i, gate);
  store<T, W>(d_x + row * 2 * columns + columns + i, up);
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void swiglu_forward_##suffix(                                                    \
      const T* __restrict__ x, T* __restrict__ y, unsigned long long threads, int columns) {             \
    forward<T, W>(x, y, threads, columns);                                                               \
  }                                                                                                      \
  extern "C" __global__ void swiglu_backward_##suffix(                                                   \
      const T* __restrict__ x, const T* __restrict__ d_y, T* __restrict__ d_x, unsigned long long threads, \
      int columns) {                                                                                     \
    backward<T, W>(x, d_y, d_x, threads, columns);                                                       \
  }
FOR_EACH_TYPE(KERNELS)
