// Layer norm of rows: y = (x - mean) rstd weight + bias, with the biased variance about the mean.
// With g = d_y weight and n = (x - mean) rstd: d_x = rstd (g - mean(g) - n mean(g n)), d_weight = sum over rows
// of d_y n, d_bias = sum over rows of d_y.
//
// Launch and memory as in rms_norm: a warp per row, later readings of a row from the L1 cache. Backward keeps
// 2 columns floats per warp in shared memory and writes `partials` (blocks, 2 columns): d_weight, then d_bias.
#include "../base/cuda/common.cuh"

// Mean and 1 / sqrt(variance + eps) of a row, in every lane of its warp.
template <typename T, int W>
static __device__ __forceinline__ void statistics(
    const T* x, int first, int columns, float eps, float& mean, float& rstd) {
  float sum = 0.0f;
  for (int c = first; c < columns; c += 32 * W) {
    float a[W];
    load<T, W>(x + c, a);
#pragma unroll
    for (int i = 0; i < W; i++) sum += a[i];
  }
  mean = warp_sum(sum) / columns;
  float squares = 0.0f;
  for (int c = first; c < columns; c += 32 * W) {
    float a[W];
    load<T, W>(x + c, a);
#pragma unroll
    for (int i = 0; i < W; i++) squares += (a[i] - mean) * (a[i] - mean);
  }
  rstd = inverse_root(warp_sum(squares) / columns + eps);
}

template <typename T, int W>
static __device__ void forward(
    const T* x, const T* weight, const T* bias, T* y, int rows, int columns, float eps) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, first = threadIdx.x % 32 * W;
  if (row >= rows) return;
  x += (size_t)row * columns;
  y += (size_t)row * columns;
  float mean, rstd;
  statistics<T, W>(x, first, columns, eps, mean, rstd);
  for (int c = first; c < columns; c += 32 * W) {
    float a[W], w[W], b[W];
    load<T, W>(x + c, a);
    load<T, W>(weight + c, w);
    load<T, W>(bias + c, b);
#pragma unroll
    for (int i = 0; i < W; i++) a[i] = (a[i] - mean) * rstd * w[i] + b[i];
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
  float* d_weight = shared + warp * 2 * columns; // A lane touches its own columns alone.
  float* d_bias = d_weight + columns;
  for (int c = first; c < columns; c += 32 * W) {
#pragma unroll
    for (int i = 0; i < W; i++) d_weight[c + i] = d_bias[c + i] = 0.0f;
  }
  for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
    const size_t start = (size_t)row * columns;
    float mean, rstd;
    statistics<T, W>(x + start, first, columns, eps, mean, rstd);
    float gradients = 0.0f, products = 0.0f;
    for (int c = first; c < columns; c += 32 * W) {
      float a[W], w[W], d[W];
      load<T, W>(x + start + c, a);
      load<T, W>(weight + c, w);
      load<T, W>(d_y + start + c, d);
#pragma unroll
      for (int i = 0; i < W; i++) {
        gradients += d[i] * w[i];
        products += d[i] * w[i] * (a[i] - mean);
      }
    }
    const float mean_g = warp_sum(gradients) / columns, mean_g_n = warp_sum(products) * rstd / columns;
    for (int c = first; c < columns; c += 32 * W) {
      float a[W], w[W], d[W], out[W];
      load<T, W>(x + start + c, a);
      load<T, W>(weight + c, w);
      load<T, W>(d_y + start + c, d);
#pragma unroll
      for (int i = 0; i < W; i++) {
        const float n = (a[i] - mean) * rstd;
        out[i] = rstd * (d[i] * w[i] - mean_g - n * mean_g_n);
        d_weight[c + i] += d[i] * n;
        d_bias[c + i] += d[i];
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
  for (int c = threadIdx.x; c < 2 * columns; c += blockDim.x) {
    float sum = 0.0f;
    for (int other = 0; other < warps; other++) sum += shared[other * 2 * columns + c];
    partials[(size_t)blockIdx.x * 2 * columns + c] = sum;
  }
}

#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void layer_norm_forward_##suffix(                                                \
      const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias, T* __restrict__ y, \
      int rows, int columns, float eps) {                                                                \
    forward<T, W>(x, weight, bias, y, rows, columns, eps);                                               \
  }                                                                                                      \
  extern "C" __global__ void layer_norm_backward_##suffix(                                               \
      const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ d_y,                  \
      const T* __restrict__ onto, T* __restrict__ d_x, float* __restrict__ partials, int rows, int columns, \
      float eps) {                                                                                       \
    backward<T, W>(x, weight, d_y, onto, d_x, partials, rows, columns, eps);                             \
  }
FOR_EACH_TYPE(KERNELS)
