// Three kinds of arithmetic on tensor cores, for tiling.cuh.
//
// Accumulators are tiles of 16 x 8: lane 4 g + t holds, of each, the elements (g, 2t), (g, 2t + 1), (g + 8, 2t),
// (g + 8, 2t + 1). One step of a product takes STEP elements, 32 bytes, of each row of its left operand.
#pragma once

#include <cuda_bf16.h>

#include "../base/cuda/ptx.cuh"

/// Products of bf16.
struct Bf16 {
    using Element = __nv_bfloat16;
    static constexpr int STEP = 16;

    static __device__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
        mma_bf16(c, a, b0, b1);
    }

    /// Accumulators of 16 x STEP, rounded, as the left operand of a step.
    static __device__ void to_left(uint32_t (&a)[4], const float (*c)[4]) {
        for (int i = 0; i < 4; i++) a[i] = pair(c[i / 2][i % 2 * 2], c[i / 2][i % 2 * 2 + 1]);
    }

    /// The right operands of a step for two tiles of 8 columns: STEP rows from `row` and 16 columns of a tile.
    static __device__ void load_right(uint32_t (&b)[4], const Element* row, int stride, int lane) {
        ldmatrix_x4_trans(b, row + lane % 16 * stride + lane / 16 * 8);
    }

    static __device__ void store(Element* to, float x, float y) {
        *reinterpret_cast<__nv_bfloat162*>(to) = __floats2bfloat162_rn(x, y);
    }

    /// The sum of the products of two pairs of elements.
    static __device__ float dot(uint32_t a, uint32_t b) {
        return low(a) * low(b) + high(a) * high(b);
    }

private:
    static __device__ uint32_t pair(float x, float y) {
        __nv_bfloat162 both = __floats2bfloat162_rn(x, y);
        return reinterpret_cast<uint32_t&>(both);
    }
    static __device__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
    static __device__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }
};

/// Products of f32, rounded to tf32 (11 bits), or with EXACT as three products of tf32 parts, which keeps about 21
/// bits. Source: Ootomo and Yokota 2022, arXiv 2203.03341, without their treatment of underflow.
template <bool EXACT> struct F32 {
    using Element = float;
    static constexpr int STEP = 8;

    static __device__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
        uint32_t big_a[4], big_b0 = to_tf32(__uint_as_float(b0)), big_b1 = to_tf32(__uint_as_float(b1));
        for (int i = 0; i < 4; i++) big_a[i] = to_tf32(__uint_as_float(a[i]));
        if (EXACT) {
            uint32_t small_a[4];
            for (int i = 0; i < 4; i++) small_a[i] = rest(a[i], big_a[i]);
            mma_tf32(c, small_a, big_b0, big_b1);
            mma_tf32(c, big_a, rest(b0, big_b0), rest(b1, big_b1));
        }
        mma_tf32(c, big_a, big_b0, big_b1);
    }

    /// The operand's columns t and t + 4 are the accumulator's columns 2t and 2t + 1: `load_right` takes its rows in
    /// the same order, and a sum does not mind.
    static __device__ void to_left(uint32_t (&a)[4], const float (*c)[4]) {
        for (int i = 0; i < 4; i++) a[i] = __float_as_uint(c[0][i % 2 * 2 + i / 2]);
    }

    static __device__ void load_right(uint32_t (&b)[4], const Element* row, int stride, int lane) {
        const Element* from = row + lane % 4 * 2 * stride + lane / 4;
        for (int i = 0; i < 4; i++) b[i] = __float_as_uint(from[i % 2 * stride + i / 2 * 8]);
    }

    static __device__ void store(Element* to, float x, float y) {
        *reinterpret_cast<float2*>(to) = make_float2(x, y);
    }

    static __device__ float dot(uint32_t a, uint32_t b) { return __uint_as_float(a) * __uint_as_float(b); }

private:
    static __device__ uint32_t rest(uint32_t x, uint32_t big) {
        return to_tf32(__uint_as_float(x) - __uint_as_float(big));
    }
};
