// RMS norm of rows: y = x rstd weight, rstd = 1 / sqrt(mean(x^2) + eps).
// With g = d_y weight and n = x rstd: d_x = rstd (g - n mean(g n)), d_weight = sum over rows of d_y n.
//
// A warp per row; the second reading of a row comes from the L1 cache, so device memory is read once. Bound by
// memory: forward moves two, backward three elements per element of x. Forward: 4 rows per block of 128
// threads. Backward: `blocks` blocks share the rows; each warp keeps its part of d_weight in shared memory
// (warps x columns floats), the block adds the parts up and writes one row of `partials` (blocks, columns),
// which sum_partials finishes. No atomics, so runs give the same bits.
#include "../base/cuda/common.cuh"

template <typename T, int W>
static __device__ void forward(const T* x, const T* weight, T* y, int rows, int columns, float eps) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, first = threadIdx.x % 32 * W;
  if (row >= rows) return;
  x += (size_t)row * columns;
  y += (size_t)row * columns;
  float sum = 0.0f;
  for (int c = first; c < columns; c += 32 * W) {
    float a[W];
    load<T, W>(x + c, a);
#pragma unroll
    for (int i = 0; i < W; i++) sum += a[i] * a[i];
  }
  const float rstd = inverse_root(warp_sum(sum) / columns + eps);
  for (int c = first; c < columns; c += 32 * W) {
    float a[W], w[W];
    load<T, W>(x + c, a);
    load<T, W>(weight + c, w);
#pragma unroll
    for (int i = 0; i < W; i++) a[i] *= rstd * w[i];
    store<T, W>(y + c, a);
  }
}

// `onto`, where it is not null, is added to d_x.
template <typename T, int W>
static __device__ void backward(
    const T* x, const T* weight, const T* d_y, const T* onto, T* d_x, float* partials, int rows, int columns,
    float eps) {
  float* shared = dynamic_shared<float>();
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, first = threadIdx.x % 32 * W;
  float* d_weight = shared + warp * columns; // A lane touches its own columns alone.
  for (int c = first; c < columns; c += 32 * W) {
#pragma unroll
    for (int i = 0; i < W; i++) d_weight[c + i] = 0.0f;
  }
  for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
    const size_t start = (size_t)row * columns;
    float squares = 0.0f, products = 0.0f;
    for (int c = first; c < columns; c += 32 * W) {
      float a[W], w[W], d[W];
      load<T, W>(x + start + c, a);
      load<T, W>(weight + c, w);
      load<T, W>(d_y + start + c, d);
#pragma unroll
      for (int i = 0; i < W; i++) {
        squares += a[i] * a[i];
        products += d[i] * w[i] * a[i];
      }
    }
    const float rstd = inverse_root(warp_sum(squares) / columns + eps);
    const float mean = warp_sum(products) * rstd / columns;
    for (int c = first; c < columns; c += 32 * W) {
      float a[W], w[W], d[W], out[W];
      load<T, W>(x + start + c, a);
      load<T, W>(weight + c, w);
      load<T, W>(d_y + start + c, d);
#pragma unroll
      for (int i = 0; i < W; i++) {
        const float n = a[i] * rstd;
        out[i] = rstd * (d[i] * w[i] - n * mean);
        d_weight[c + i] += d[i] * n;
      }
      if (onto != nullptr) {
        float base[W];
        load<T, W>(onto + start + c, base);
#pragma unroll
        for (int i = 0; i < W; i++) out[i] += base[i];
      }
      store<T, W>(d_x + start + c, out);
    }
  }
  __syncthreads();
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    float sum = 0.0f;
    for (int other = 0; other < warps; other++) sum += shared[other * columns + c];
    partials[(size_t)blockIdx.x * columns + c] = sum;
  }
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void rms_norm_forward_##suffix(                                                  \
      const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y, int rows, int columns,   \
      float eps) {                                                                                       \
    forward<T, W>(x, weight, y, rows, columns, eps);                                                     \
  }                                                                                                      \
  extern "C" __global__ void rms_norm_backward_##suffix(                                                 \
      const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ d_y,                  \
      const T* __restrict__ onto, T* __restrict__ d_x, float* __restrict__ partials, int rows, int columns, \
      float eps) {                                                                                       \
    backward<T, W>(x, weight, d_y, onto, d_x, partials, rows, columns, eps);                             \
  }
FOR_EACH_TYPE(KERNELS)
