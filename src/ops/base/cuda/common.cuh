// What the kernels share: element types, 16-byte accesses, sums over a warp or a block.
//
// Elements are read and written as T (float or bf16) and computed with as float. W is the number of elements
// of one access: 16 bytes where rows and pointers allow it, else 1.
#pragma once

#include "ptx.cuh"

#include <cuda_bf16.h>
#include <stdint.h>

using bf16 = __nv_bfloat16;

static __device__ __forceinline__ float to_float(float x) { return x; }
static __device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }

template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }

template <typename T, int W> struct alignas(sizeof(T) * W) Pack {
  T values[W];
};

template <typename T, int W> __device__ __forceinline__ void load(const T* from, float (&to)[W]) {
  const Pack<T, W> pack = *reinterpret_cast<const Pack<T, W>*>(from);
#pragma unroll
  for (int i = 0; i < W; i++) to[i] = to_float(pack.values[i]);
}

template <typename T, int W> __device__ __forceinline__ void store(T* to, const float (&from)[W]) {
  Pack<T, W> pack;
#pragma unroll
  for (int i = 0; i < W; i++) pack.values[i] = from_float<T>(from[i]);
  *reinterpret_cast<Pack<T, W>*>(to) = pack;
}

// The sum over the 32 lanes of a warp, in every lane; always in the same order.
static __device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

static __device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
  return x;
}

// 1 / sqrt(x), but NaN for an infinite x: squares that overflow must not make a row of zeros.
static __device__ __forceinline__ float inverse_root(float x) { return x == INFINITY ? NAN : rsqrtf(x); }

// The sum over a block of whole warps, in every thread. `scratch` has 32 floats; two calls need a barrier
// between them when they share it.
static __device__ __forceinline__ float block_sum(float x, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  x = warp_sum(x);
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  return warp_sum(lane < blockDim.x / 32 ? scratch[lane] : 0.0f);
}

// Makes `NAME_f32`, `NAME_bf16` and their forms of single elements, `NAME_f32_1` and `NAME_bf16_1`, out of a
// macro KERNEL(suffix, T, W).
#define FOR_EACH_TYPE(KERNEL) \
  KERNEL(f32, float, 4)       \
  KERNEL(f32_1, float, 1)     \
  KERNEL(bf16, bf16, 8)       \
  KERNEL(bf16_1, bf16, 1)
