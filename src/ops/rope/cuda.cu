// Rotary embedding of the first `rotated` heads of each row; the other heads are copied.
// With a head in two halves (a, b): y = (a cos - b sin, b cos + a sin), sin times `sign`: 1 forward, -1 for the
// gradient. The tables (positions, half) are f32 for every T; a position outside them makes NaN.
//
// A thread per W pairs of a rotated head or 2 x W copied elements, so every thread moves two packs each way.
// Launch: 256 threads per block, rows * heads * half / W threads in all. Bound by memory.
#include "../base/cuda/common.cuh"

template <typename T, int W>
static __device__ void rotate(
    const T* x, const unsigned* positions, const float* cos, const float* sin, T* y, unsigned long long threads,
    int heads, int half, int rotated, int num_positions, float sign) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  const int packs = half / W;
  const int i = (int)(thread % packs) * W, head = (int)(thread / packs % heads);
  const unsigned long long row = thread / ((unsigned long long)packs * heads);
  const size_t at = (row * heads + head) * 2 * half + i;
  float a[W], b[W];
  load<T, W>(x + at, a);
  load<T, W>(x + at + half, b);
  if (head < rotated) {
    const unsigned position = positions[row];
    const bool known = position < (unsigned)num_positions;
    const size_t angle = known ? (size_t)position * half + i : 0;
#pragma unroll
    for (int k = 0; k < W; k++) {
      const float c = known ? cos[angle + k] : nanf(""), s = sign * sin[angle + k];
      const float first = a[k] * c - b[k] * s;
      b[k] = b[k] * c + a[k] * s;
      a[k] = first;
    }
  }
  store<T, W>(y + at, a);
  store<T, W>(y + at + half, b);
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void rope_##suffix(                                                              \
      const T* __restrict__ x, const unsigned* __restrict__ positions, const float* __restrict__ cos,    \
      const float* __restrict__ sin, T* __restrict__ y, unsigned long long threads, int heads, int half, \
      int rotated, int num_positions, float sign) {                                                      \
    rotate<T, W>(x, positions, cos, sin, y, threads, heads, half, rotated, num_positions, sign);         \
  }
FOR_EACH_TYPE(KERNELS)
