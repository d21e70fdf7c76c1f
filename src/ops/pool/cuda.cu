// The mean of the rows (`which` 0), the last row (1) or the first (2) of each sequence; `offsets` (sequences + 1) says where each starts.
//
// Launch: a block of 256 threads per sequence and 256 columns; a thread walks the rows of its column in order.
// Small beside everything else of a step.
#include "../base/cuda/common.cuh"

template <typename T>
static __device__ void forward(const T* x, const unsigned* offsets, T* y, int columns, int which) {
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  unsigned start = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  if (which == 1) start = end - 1;
  if (which == 2) end = start + 1;
  float sum = 0.0f;
  for (unsigned row = start; row < end; row++) sum += to_float(x[(size_t)row * columns + column]);
  y[(size_t)blockIdx.x * columns + column] = from_float<T>(sum / (end - start));
}

// d_x, every element of it.
template <typename T>
static __device__ void backward(const T* d_y, const unsigned* offsets, T* d_x, int columns, int which) {
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  const unsigned start = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  const float d = to_float(d_y[(size_t)blockIdx.x * columns + column]);
  for (unsigned row = start; row < end; row++) {
    const bool only = which == 1 ? row + 1 == end : row == start;
    const float share = which == 0 ? d / (end - start) : only ? d : 0.0f;
    d_x[(size_t)row * columns + column] = from_float<T>(share);
  }
}

#define KERNELS(suffix, T)                                                                               \
  extern "C" __global__ void pool_forward_##suffix(                                                      \
      const T* __restrict__ x, const unsigned* __restrict__ offsets, T* __restrict__ y, int columns, int which) { \
    forward(x, offsets, y, columns, which);                                                              \
  }                                                                                                      \
  extern "C" __global__ void pool_backward_##suffix(                                                     \
      const T* __restrict__ d_y, const unsigned* __restrict__ offsets, T* __restrict__ d_x, int columns, \
      int which) {                                                                                       \
    backward(d_y, offsets, d_x, columns, which);                                                         \
  }
KERNELS(f32, float)
KERNELS(bf16, bf16)
