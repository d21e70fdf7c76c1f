// AdamW over all parameters in one launch. Parameters, moments and gradients are f32; where a parameter has a copy in
// bf16, which the model computes with, it is written too.
//
// Clipping and the check for numbers that are not finite happen on the device, so the host waits for nothing:
// `gate` makes {factor of the gradients, 1 or 0} out of loss and norm, and a 0 stops this and every later update
// until the host looks.
//
// Launch: a block of 256 threads per chunk of CHUNK elements. Bound by memory: 28 bytes per element, 30 with a copy.
#include "../base/cuda/table.cuh"

// gate = {factor that clips the norm to max_norm (0: none), go}; `halted` stays 1 once something was not finite.
extern "C" __global__ void gate(
    const double* norm, const double* loss, double max_norm, unsigned* halted, float* gate) {
  if (threadIdx.x > 0) return;
  if (!isfinite(*norm) || !isfinite(*loss)) *halted = 1;
  gate[0] = max_norm > 0.0 && *norm > max_norm ? (float)(max_norm / *norm) : 1.0f;
  gate[1] = *halted ? 0.0f : 1.0f;
}

extern "C" __global__ void adamw(
    const Entry* __restrict__ entries, int count, const float* __restrict__ gate, float beta1, float beta2,
    float eps, float correction1, float root_scale) {
  if (gate[1] == 0.0f) return;
  const float scale = gate[0];
  const Entry entry = *find(entries, count);
  const unsigned long long start = (blockIdx.x - entry.first_chunk) * CHUNK;
  const unsigned long long rest = entry.len - start;
  const unsigned len = rest < CHUNK ? (unsigned)rest : CHUNK;
  const float keep = 1.0f - entry.learning_rate * entry.weight_decay;
  const float step_size = entry.learning_rate / correction1;
  float *param = entry.param + start, *m = entry.m + start, *v = entry.v + start;
  bf16* copy = entry.copy == nullptr ? nullptr : entry.copy + start;
  const float* grad = entry.grad + start;
  const uintptr_t together = reinterpret_cast<uintptr_t>(param) | reinterpret_cast<uintptr_t>(m) |
                             reinterpret_cast<uintptr_t>(v) | reinterpret_cast<uintptr_t>(grad) |
                             reinterpret_cast<uintptr_t>(copy) * 2;
  unsigned i = threadIdx.x * 4;
  if (together % 16 == 0) {
    for (; i + 4 <= len; i += blockDim.x * 4) {
      float p[4], g[4], first[4], second[4];
      load<float, 4>(param + i, p);
      load<float, 4>(grad + i, g);
      load<float, 4>(m + i, first);
      load<float, 4>(v + i, second);
#pragma unroll
      for (int k = 0; k < 4; k++) {
        g[k] *= scale;
        first[k] = beta1 * first[k] + (1.0f - beta1) * g[k];
        second[k] = beta2 * second[k] + (1.0f - beta2) * g[k] * g[k];
        p[k] = p[k] * keep - step_size * first[k] / (sqrtf(second[k]) * root_scale + eps);
      }
      store<float, 4>(param + i, p);
      store<float, 4>(m + i, first);
      store<float, 4>(v + i, second);
      if (copy != nullptr) store<bf16, 4>(copy + i, p);
    }
  }
  // What is left belongs to the threads in stretches of four, the last one shorter.
  for (; i < len; i += blockDim.x * 4) {
    for (unsigned k = i; k < len && k < i + 4; k++) {
      const float g = grad[k] * scale;
      const float first = m[k] = beta1 * m[k] + (1.0f - beta1) * g;
      const float second = v[k] = beta2 * v[k] + (1.0f - beta2) * g * g;
      const float p = param[k] = param[k] * keep - step_size * first / (sqrtf(second) * root_scale + eps);
      if (copy != nullptr) copy[k] = from_float<bf16>(p);
    }
  }
}
