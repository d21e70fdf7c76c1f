// Cross-entropy of rows of logits: loss = log(sum_j exp(logits_j)) - logits_target; a row whose target is
// 0xffffffff counts nothing, any other target outside the vocabulary makes NaN.
// Gradient: (softmax - onehot) times the row's factor, written over the logits or elsewhere.
//
// Launch: a block of 256 to 1024 threads per row. The first reading keeps a running maximum and sum per thread
// and joins them over the block in a fixed order; the second, out of the L2 cache, writes the gradient. Bound by
// memory: the logits are read once from device memory and written once. All sums are f32.
#include "../base/cuda/common.cuh"

static constexpr unsigned IGNORED = 0xffffffffu;

static __device__ __forceinline__ void join(float& max, float& sum, float other_max, float other_sum) {
  const float joined = fmaxf(max, other_max);
  sum = (max == -INFINITY ? 0.0f : sum * __expf(max - joined)) +
        (other_max == -INFINITY ? 0.0f : other_sum * __expf(other_max - joined));
  max = joined;
}

// `losses` and `d_logits` may be null. The row's factor is d_losses[row] where there are any, else `scale`.
// `vocab_size` need not be a multiple of W: the rest of a row is done element by element.
template <typename T, int W>
static __device__ void rows(
    const T* logits, int stride, const unsigned* targets, float* losses, T* d_logits, int d_stride,
    const float* d_losses, float scale, int vocab_size) {
  __shared__ float maxima[32], sums[32];
  const size_t row = blockIdx.x;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned target = targets[row];
  logits += row * stride;
  const int packed = vocab_size / W * W;
  if (d_logits != nullptr) d_logits += row * d_stride;
  if (target == IGNORED) {
    if (losses != nullptr && threadIdx.x == 0) losses[row] = 0.0f;
    if (d_logits == nullptr) return;
    const float zeros[W] = {};
    for (int j = threadIdx.x * W; j < packed; j += blockDim.x * W) store<T, W>(d_logits + j, zeros);
    for (int j = packed + threadIdx.x; j < vocab_size; j += blockDim.x) d_logits[j] = from_float<T>(0.0f);
    return;
  }

  float max = -INFINITY, sum = 0.0f;
  for (int j = threadIdx.x * W; j < packed; j += blockDim.x * W) {
    float a[W];
    load<T, W>(logits + j, a);
    float highest = a[0], total = 0.0f;
#pragma unroll
    for (int k = 1; k < W; k++) highest = fmaxf(highest, a[k]);
#pragma unroll
    for (int k = 0; k < W; k++) total += __expf(a[k] - highest);
    join(max, sum, highest, total);
  }
  for (int j = packed + threadIdx.x; j < vocab_size; j += blockDim.x) {
    join(max, sum, to_float(logits[j]), 1.0f);
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float other_max = __shfl_xor_sync(0xffffffffu, max, lanes);
    const float other_sum = __shfl_xor_sync(0xffffffffu, sum, lanes);
    join(max, sum, other_max, other_sum);
  }
  if (lane == 0) {
    maxima[warp] = max;
    sums[warp] = sum;
  }
  __syncthreads();
  max = -INFINITY;
  sum = 0.0f;
  for (int other = 0; other < blockDim.x / 32; other++) join(max, sum, maxima[other], sums[other]);
  const float log_sum_exp = max + logf(sum);
  const bool known = target < (unsigned)vocab_size;
  const float target_logit = known ? to_float(logits[target]) : nanf("");
  if (losses != nullptr && threadIdx.x == 0) losses[row] = log_sum_exp - target_logit;
  if (d_logits == nullptr) return;

  // The logit of the target is read by every thread before one of them writes over it.
  __syncthreads();
  const float factor = d_losses != nullptr ? d_losses[row] : scale;
  for (int j = threadIdx.x * W; j < packed; j += blockDim.x * W) {
    float a[W];
    load<T, W>(logits + j, a);
#pragma unroll
    for (int k = 0; k < W; k++) {
      a[k] = factor * (__expf(a[k] - log_sum_exp) - (unsigned(j + k) == target ? 1.0f : 0.0f));
    }
    store<T, W>(d_logits + j, a);
  }
  for (int j = packed + threadIdx.x; j < vocab_size; j += blockDim.x) {
    const float p = __expf(to_float(logits[j]) - log_sum_exp);
    d_logits[j] = from_float<T>(factor * (p - (unsigned(j) == target ? 1.0f : 0.0f)));
  }
}

// `d_logits` may be the logits themselves, so neither is __restrict__.
#define KERNELS(suffix, T, W)                                                                            \
  extern "C" __global__ void cross_entropy_##suffix(                                                     \
      const T* logits, int stride, const unsigned* __restrict__ targets, float* __restrict__ losses,     \
      T* d_logits, int d_stride, const float* __restrict__ d_losses, float scale, int vocab_size) {      \
    rows<T, W>(logits, stride, targets, losses, d_logits, d_stride, d_losses, scale, vocab_size);        \
  }
FOR_EACH_TYPE(KERNELS)
