// The norm of all gradients, of f32, in two launches.
//
// Launch: a block of 256 threads per chunk of CHUNK elements, then one block of 1024. Bound by memory: 4 bytes per
// element. Each sum is taken in the same order in every run.
#include "../base/cuda/table.cuh"

// The sum of squares of each chunk, in f32 within it.
extern "C" __global__ void chunk_squares(const Entry* __restrict__ entries, int count, double* __restrict__ sums) {
  __shared__ float scratch[32];
  const Entry* entry = find(entries, count);
  const unsigned long long start = (blockIdx.x - entry->first_chunk) * CHUNK;
  const unsigned long long rest = entry->len - start;
  const unsigned len = rest < CHUNK ? (unsigned)rest : CHUNK;
  const float* grad = entry->grad + start;
  float sum = 0.0f;
  unsigned i = threadIdx.x * 4;
  if (reinterpret_cast<uintptr_t>(grad) % 16 == 0) {
    for (; i + 4 <= len; i += blockDim.x * 4) {
      float g[4];
      load<float, 4>(grad + i, g);
#pragma unroll
      for (int k = 0; k < 4; k++) sum += g[k] * g[k];
    }
  } else {
    for (; i + 4 <= len; i += blockDim.x * 4) {
      for (int k = 0; k < 4; k++) sum += grad[i + k] * grad[i + k];
    }
  }
  for (; i < len; i++) sum += grad[i] * grad[i]; // The last elements belong to one thread.
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = (double)sum;
}

// *norm = root of the sum of n doubles; one block of 1024 threads.
extern "C" __global__ void finish_norm(const double* __restrict__ sums, int n, double* norm) {
  __shared__ double shared[1024];
  double sum = 0.0;
  for (int i = threadIdx.x; i < n; i += 1024) sum += sums[i];
  shared[threadIdx.x] = sum;
  for (int half = 512; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *norm = sqrt(shared[0]);
}
