// Rows of a table by id: y[n] = weight[ids[n]]; an id outside the table makes a row of NaN.
// Backward: d_weight[id] += the sum of d_y[n] over the n with ids[n] = id, in the order of n, in f32.
//
// Forward: a thread per W elements, 256 per block; bound by memory.
// Backward: block (x, y) owns the ids that are x modulo gridDim.x, and of their rows the columns of share y. It
// reads all ids in stretches of 1024, lists the places of its own in order, and adds their rows; no two blocks
// touch the same element, so there are no atomics and runs give the same bits. The ids are read once by every
// block, from the L2 cache: 4 N gridDim.x gridDim.y bytes.
#include "../base/cuda/common.cuh"

template <typename T, int W>
static __device__ void forward(
    const T* weight, const unsigned* ids, T* y, unsigned long long threads, int columns, unsigned vocab_size) {
  const unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= threads) return;
  const int packs = columns / W;
  const unsigned long long row = thread / packs;
  const int i = (int)(thread % packs) * W;
  const unsigned id = ids[row];
  float a[W];
  if (id < vocab_size) {
    load<T, W>(weight + (size_t)id * columns + i, a);
  } else {
#pragma unroll
    for (int k = 0; k < W; k++) a[k] = nanf("");
  }
  store<T, W>(y + row * columns + i, a);
}

// Blocks of 256 threads; 1024 ids at a time, 4 per thread.
template <typename T>
static __device__ void backward(
    const T* d_y, const unsigned* ids, float* d_weight, int rows, int columns, unsigned vocab_size) {
  __shared__ int places[1024];
  __shared__ unsigned place_ids[1024];
  __shared__ int warp_counts[8];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int share = (columns + gridDim.y - 1) / gridDim.y;
  const int first = blockIdx.y * share, last = min(columns, first + share);
  for (int start = 0; start < rows; start += 1024) {
    unsigned mine[4];
    int count = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int place = start + thread * 4 + k;
      mine[k] = place < rows ? ids[place] : 0xffffffffu;
      if (mine[k] >= vocab_size || mine[k] % gridDim.x != blockIdx.x) mine[k] = 0xffffffffu;
      count += mine[k] != 0xffffffffu;
    }
    // Where this thread's places go: after those of all threads before it.
    int before = count;
#pragma unroll
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, before, lanes);
      if (lane >= lanes) before += other;
    }
    if (lane == 31) warp_counts[warp] = before;
    __syncthreads();
    int total = 0;
    before -= count;
    for (int other = 0; other < 8; other++) {
      if (other < warp) before += warp_counts[other];
      total += warp_counts[other];
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (mine[k] == 0xffffffffu) continue;
      places[before] = start + thread * 4 + k;
      place_ids[before] = mine[k];
      before++;
    }
    __syncthreads();
    // A column belongs to one thread, which adds the rows in order, eight of them loaded at a time; runs of one
    // id stay in a register.
    for (int c = first + thread; c < last; c += 256) {
      unsigned id = 0xffffffffu;
      float sum = 0.0f;
      for (int n = 0; n < total; n += 8) {
        float values[8];
#pragma unroll
        for (int k = 0; k < 8; k++) {
          values[k] = n + k < total ? to_float(d_y[(size_t)places[n + k] * columns + c]) : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < 8; k++) {
          if (n + k >= total) continue;
          if (place_ids[n + k] != id) {
            if (id != 0xffffffffu) d_weight[(size_t)id * columns + c] = sum;
            id = place_ids[n + k];
            sum = d_weight[(size_t)id * columns + c];
          }
          sum += values[k];
        }
      }
      if (id != 0xffffffffu) d_weight[(size_t)id * columns + c] = sum;
    }
    __syncthreads();
  }
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void embedding_forward_##suffix(                                                 \
      const T* __restrict__ weight, const unsigned* __restrict__ ids, T* __restrict__ y,                 \
      unsigned long long threads, int columns, unsigned vocab_size) {                                    \
    forward<T, W>(weight, ids, y, threads, columns, vocab_size);                                         \
  }
FOR_EACH_TYPE(KERNELS)

extern "C" __global__ void embedding_backward_f32(
    const float* __restrict__ d_y, const unsigned* __restrict__ ids, float* __restrict__ d_weight, int rows,
    int columns, unsigned vocab_size) {
  backward(d_y, ids, d_weight, rows, columns, vocab_size);
}

extern "C" __global__ void embedding_backward_bf16(
    const bf16* __restrict__ d_y, const unsigned* __restrict__ ids, float* __restrict__ d_weight, int rows,
    int columns, unsigned vocab_size) {
  backward(d_y, ids, d_weight, rows, columns, vocab_size);
}
