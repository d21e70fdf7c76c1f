// The words and functions of CUDA C++ that kernels use, for emulate.hpp. bf16 stands in cuda_bf16.h.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__
#define __restrict__ __restrict
#define __shared__ static __attribute__((section("emulated_shared")))

/// Stands for `extern __shared__ T name[]`, which no macro can turn into C++.
template <class T> T* dynamic_shared() { return reinterpret_cast<T*>(emulate::block.shared.get()); }

struct __align__(8) int2 { int x, y; };
struct int3 { int x, y, z; };
struct __align__(16) int4 { int x, y, z, w; };
struct __align__(8) uint2 { unsigned x, y; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
struct __align__(8) float2 { float x, y; };
struct float3 { float x, y, z; };
struct __align__(16) float4 { float x, y, z, w; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __exp2f(float x) { return std::exp2(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <class To, class From> To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
template <class T> T __ldg(const T* from) { return *from; }
template <class T> T __ldcs(const T* from) { return *from; }
template <class T> T __ldcg(const T* from) { return *from; }
template <class T> void __stcs(T* to, T value) { *to = value; }
template <class T> void __stcg(T* to, T value) { *to = value; }

inline void __syncthreads() { emulate::barrier(); }
inline int __syncthreads_or(int vote) { return emulate::barrier(vote); }
inline int __syncthreads_and(int vote) { return !emulate::barrier(!vote); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __syncwarp(uint32_t mask = ~0u) {
    char nothing;
    emulate::together(mask, nothing, [](auto&) {});
}

template <class T> struct ShuffleOperands { T value; int source; T result; };

/// `source` is the lane to read, the own one where there is none.
template <class T> T shuffle(uint32_t mask, T value, int source) {
    ShuffleOperands<T> own{value, source, value};
    emulate::together(mask, own, [](auto& lanes) {
        for (auto* lane : lanes) {
            if (!lane) continue;
            if (!lanes[lane->source]) emulate::fail("a shuffle reads a lane outside of its mask");
            lane->result = lanes[lane->source]->value;
        }
    });
    return own.result;
}
inline int emulated_lane() { return emulate::block.current % 32; }
template <class T> T __shfl_sync(uint32_t mask, T value, int source, int width = 32) {
    return shuffle(mask, value, (emulated_lane() & ~(width - 1)) + (source & (width - 1)));
}
template <class T> T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32) {
    int source = emulated_lane() ^ lanes;
    bool within = (source & ~(width - 1)) <= (emulated_lane() & ~(width - 1));
    return shuffle(mask, value, within ? source : emulated_lane());
}
template <class T> T __shfl_down_sync(uint32_t mask, T value, unsigned lanes, int width = 32) {
    int position = emulated_lane() & (width - 1);
    return shuffle(mask, value, position + int(lanes) < width ? emulated_lane() + lanes : emulated_lane());
}
template <class T> T __shfl_up_sync(uint32_t mask, T value, unsigned lanes, int width = 32) {
    int position = emulated_lane() & (width - 1);
    return shuffle(mask, value, position >= int(lanes) ? emulated_lane() - lanes : emulated_lane());
}
inline unsigned __ballot_sync(uint32_t mask, int vote) {
    struct Operands { int vote; unsigned ballot; } own{vote, 0};
    emulate::together(mask, own, [](auto& lanes) {
        unsigned ballot = 0;
        for (int i = 0; i < 32; i++) ballot |= unsigned(lanes[i] && lanes[i]->vote) << i;
        for (auto* lane : lanes)
            if (lane) lane->ballot = ballot;
    });
    return own.ballot;
}
inline int __any_sync(uint32_t mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(uint32_t mask, int vote) { return __ballot_sync(mask, vote) == mask; }
inline unsigned __activemask() { emulate::fail("__activemask depends on timing"); }

// Atomics on integers; those on floats are left out, for their sums depend on the order.
template <class T, class F> T atomically(T* at, F change) {
    T old = *at;
    *at = change(old);
    return old;
}
inline int atomicAdd(int* at, int x) { return atomically(at, [=](int old) { return old + x; }); }
inline unsigned atomicAdd(unsigned* at, unsigned x) { return atomically(at, [=](unsigned old) { return old + x; }); }
inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long x) {
    return atomically(at, [=](unsigned long long old) { return old + x; });
}
inline unsigned atomicInc(unsigned* at, unsigned limit) {
    return atomically(at, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}
inline int atomicMax(int* at, int x) { return atomically(at, [=](int old) { return max(old, x); }); }
inline unsigned atomicMax(unsigned* at, unsigned x) { return atomically(at, [=](unsigned old) { return max(old, x); }); }
inline int atomicMin(int* at, int x) { return atomically(at, [=](int old) { return min(old, x); }); }
inline int atomicOr(int* at, int x) { return atomically(at, [=](int old) { return old | x; }); }
inline unsigned atomicOr(unsigned* at, unsigned x) { return atomically(at, [=](unsigned old) { return old | x; }); }
inline int atomicExch(int* at, int x) { return atomically(at, [=](int) { return x; }); }
inline int atomicCAS(int* at, int expected, int x) {
    return atomically(at, [=](int old) { return old == expected ? x : old; });
}
