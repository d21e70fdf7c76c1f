// Sums over the rows of a (parts, columns) matrix of f32: the end of a gradient whose parts were computed by
// different blocks. Each sum is taken in the same order in every run.
//
// Launch: blocks of 32 x 32 threads, one block for 32 columns; thread (x, y) sums parts y, y + 32, ...
#include "common.cuh"

extern "C" __global__ void sum_partials(
    const float* __restrict__ partials, float* __restrict__ sums, int parts, int columns, int onto) {
  __shared__ float shared[32][33];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f;
  if (column < columns) {
    for (int part = threadIdx.y; part < parts; part += 32) sum += partials[(size_t)part * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  // Warp y now sums column y of the block.
  sum = warp_sum(shared[threadIdx.x][threadIdx.y]);
  const int summed = blockIdx.x * 32 + threadIdx.y;
  if (threadIdx.x == 0 && summed < columns) sums[summed] = (onto ? sums[summed] : 0.0f) + sum;
}

// *sum = scale * (sum of n floats) (+ *sum where `onto`), by one block of 1024 threads.
extern "C" __global__ void sum_all(const float* __restrict__ x, float* sum, int n, float scale, int onto) {
  __shared__ float scratch[32];
  float total = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) total += x[i];
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) *sum = (onto ? *sum : 0.0f) + scale * total;
}

// x *= *factor, which is nearly always 1: then every thread only reads that.
// Launch: any number of blocks of 256 threads.
template <typename T> static __device__ void scale_by(T* x, const float* factor, unsigned long long n) {
  const float by = *factor;
  if (by == 1.0f) return;
  const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
    x[i] = from_float<T>(to_float(x[i]) * by);
  }
}

extern "C" __global__ void scale_by_f32(float* x, const float* factor, unsigned long long n) {
  scale_by(x, factor, n);
}

extern "C" __global__ void scale_by_bf16(bf16* x, const float* factor, unsigned long long n) {
  scale_by(x, factor, n);
}
