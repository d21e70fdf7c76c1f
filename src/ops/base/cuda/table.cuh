// A table of tensors, for kernels that work on all parameters in one launch.
//
// Launch: a block of 256 threads per chunk of CHUNK elements; the block finds its tensor by bisection.
#pragma once
#include "common.cuh"

static constexpr unsigned CHUNK = 8192;

struct Entry {
  float* param;
  bf16* copy; // May be null.
  float* m;
  float* v;
  const float* grad;
  unsigned long long first_chunk;
  unsigned long long len;
  float learning_rate;
  float weight_decay;
};

// The entry whose chunk this block works on.
static __device__ const Entry* find(const Entry* entries, int count) {
  int low = 0, high = count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (entries[middle].first_chunk <= blockIdx.x) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return entries + low;
}
