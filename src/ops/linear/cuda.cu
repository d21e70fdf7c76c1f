// The gradient of a bias: sums over the rows of d_y (rows, columns), which lie `stride` elements apart.
//
// Launch: blocks of 32 x 8 threads, one block for 32 W columns and one of `parts` shares of the rows; thread
// (x, y) sums every 8th row of its share in W columns. Writes one row of `partials` (parts, columns), which
// sum_partials finishes. Bound by memory: d_y is read once.
#include "../base/cuda/common.cuh"

template <typename T, int W>
static __device__ void column_sums(const T* x, float* partials, int rows, int columns, int stride) {
  __shared__ float shared[8][32 * W + 1];
  const int column = (blockIdx.x * 32 + threadIdx.x) * W;
  const int share = (rows + gridDim.y - 1) / gridDim.y;
  const int end = min(rows, (int)(blockIdx.y + 1) * share);
  float sums[W] = {};
  if (column < columns) {
    for (int row = blockIdx.y * share + threadIdx.y; row < end; row += 8) {
      float a[W];
      load<T, W>(x + (size_t)row * stride + column, a);
#pragma unroll
      for (int k = 0; k < W; k++) sums[k] += a[k];
    }
  }
#pragma unroll
  for (int k = 0; k < W; k++) shared[threadIdx.y][threadIdx.x * W + k] = sums[k];
  __syncthreads();
  for (int c = threadIdx.y * 32 + threadIdx.x; c < 32 * W; c += 256) {
    float sum = 0.0f;
    for (int y = 0; y < 8; y++) sum += shared[y][c];
    const int at = blockIdx.x * 32 * W + c;
    if (at < columns) partials[(size_t)blockIdx.y * columns + at] = sum;
  }
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void column_sums_##suffix(                                                       \
      const T* __restrict__ x, float* __restrict__ partials, int rows, int columns, int stride) {        \
    column_sums<T, W>(x, partials, rows, columns, stride);                                               \
  }
FOR_EACH_TYPE(KERNELS)
