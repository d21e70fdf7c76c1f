// Dropout's factors from a ChaCha stream of 8 rounds: the words that the CPU draws, and so the same factors.
//
// A thread per block of the stream, 16 words; 256 threads per block. Bound by arithmetic: 25 instructions a word.
// Source: Bernstein 2008, "ChaCha, a variant of Salsa20"; constants and order of words as in RFC 8439, 2.3, with a
// counter of 64 bits.
#include "../base/cuda/common.cuh"

constexpr int ROUNDS = 8, BLOCK_WORDS = 16;

static __device__ __forceinline__ unsigned rotated(unsigned x, int bits) { return x << bits | x >> (32 - bits); }

static __device__ __forceinline__ void quarter_round(unsigned& a, unsigned& b, unsigned& c, unsigned& d) {
  a += b, d = rotated(d ^ a, 16);
  c += d, b = rotated(b ^ c, 12);
  a += b, d = rotated(d ^ a, 8);
  c += d, b = rotated(b ^ c, 7);
}

/// A key of 256 bits, the first bytes lowest.
struct Key {
  unsigned long long parts[4];
};

/// Block `counter` of the stream.
static __device__ void chacha(const Key& key, unsigned long long counter, unsigned (&words)[BLOCK_WORDS]) {
  unsigned start[BLOCK_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    start[4 + 2 * i] = (unsigned)key.parts[i];
    start[5 + 2 * i] = (unsigned)(key.parts[i] >> 32);
  }
  start[12] = (unsigned)counter;
  start[13] = (unsigned)(counter >> 32);
#pragma unroll
  for (int i = 0; i < BLOCK_WORDS; i++) words[i] = start[i];
#pragma unroll
  for (int round = 0; round < ROUNDS; round += 2) {
    // Columns of the 4 x 4 words, then diagonals.
#pragma unroll
    for (int i = 0; i < 4; i++) quarter_round(words[i], words[4 + i], words[8 + i], words[12 + i]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      quarter_round(words[i], words[4 + (i + 1) % 4], words[8 + (i + 2) % 4], words[12 + (i + 3) % 4]);
    }
  }
#pragma unroll
  for (int i = 0; i < BLOCK_WORDS; i++) words[i] += start[i];
}

template <typename T>
static __device__ void fill(T* mask, unsigned long long count, const Key& key, unsigned threshold, float scale) {
  constexpr int W = 16 / sizeof(T);
  const unsigned long long block = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned long long first = block * BLOCK_WORDS;
  if (first >= count) return;
  unsigned words[BLOCK_WORDS];
  chacha(key, block, words);
  const bool whole = first + BLOCK_WORDS <= count;
#pragma unroll
  for (int start = 0; start < BLOCK_WORDS; start += W) {
    float factors[W];
#pragma unroll
    for (int i = 0; i < W; i++) factors[i] = words[start + i] < threshold ? 0.0f : scale;
    if (whole) {
      store<T, W>(mask + first + start, factors);
      continue;
    }
#pragma unroll
    for (int i = 0; i < W; i++) {
      if (first + start + i < count) mask[first + start + i] = from_float<T>(factors[i]);
    }
  }
}

#define KERNELS(suffix, T)                                                                                 \
  extern "C" __global__ void dropout_mask_##suffix(                                                        \
      T* __restrict__ mask, unsigned long long count, unsigned long long key_0, unsigned long long key_1,  \
      unsigned long long key_2, unsigned long long key_3, unsigned threshold, float scale) {               \
    fill(mask, count, {{key_0, key_1, key_2, key_3}}, threshold, scale);                                   \
  }
KERNELS(f32, float)
KERNELS(bf16, bf16)
