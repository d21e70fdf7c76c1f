// The last row, or the mean of the rows, of each sequence; `offsets` (sequences + 1) says where each starts.
//
// Launch: a block of 256 threads per sequence and 256 columns; a thread walks the rows of its column in order.
// Small beside everything else of a step.
#include "../base/cuda/common.cuh"

template <typename T>
static __device__ void forward(const T* x, const unsigned* offsets, T* y, int columns, int last) {
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  const unsigned end = offsets[blockIdx.x + 1], start = last ? end - 1 : offsets[blockIdx.x];
  float sum = 0.0f;
  for (unsigned row = start; row < end; row++) sum += to_float(x[(size_t)row * columns + column]);
  y[(size_t)blockIdx.x * columns + column] = from_float<T>(sum / (end - start));
}

// d_x, every element of it.
template <typename T>
static __device__ void backward(const T* d_y, const unsigned* offsets, T* d_x, int columns, int last) {
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  const unsigned start = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  const float d = to_float(d_y[(size_t)blockIdx.x * columns + column]);
  for (unsigned row = start; row < end; row++) {
    const float share = !last ? d / (end - start) : row + 1 == end ? d : 0.0f;
    d_x[(size_t)row * columns + column] = from_float<T>(share);
  }
}

#define KERNELS(suffix, T)                                                                               \
  extern "C" __global__ void pool_forward_##suffix(                                                      \
      const T* __restrict__ x, const unsigned* __restrict__ offsets, T* __restrict__ y, int columns, int last) { \
    forward(x, offsets, y, columns, last);                                                               \
  }                                                                                                      \
  extern "C" __global__ void pool_backward_##suffix(                                                     \
      const T* __restrict__ d_y, const unsigned* __restrict__ offsets, T* __restrict__ d_x, int columns, \
      int last) {                                                                                        \
    backward(d_y, offsets, d_x, columns, last);                                                          \
  }
KERNELS(f32, float)
KERNELS(bf16, bf16)
