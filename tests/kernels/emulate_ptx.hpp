// The twins of the functions in src/ops/base/cuda/ptx.cuh: what the instructions do according to the PTX ISA manual,
// sections "Matrix fragments for mma.m16n8k16", "mma.m16n8k8", "ldmatrix" and "cp.async".
#pragma once

#include "cuda_bf16.h"

inline float exp2_approx(float x) { return x < -126 ? 0 : std::exp2(x); }

inline void expect_launch(unsigned threads, unsigned shared_bytes) {
    if (blockDim.x != threads || emulate::block.shared_bytes < shared_bytes)
        emulate::fail("launched with other threads or less shared memory than it is written for");
}

struct LdmatrixOperands { uint32_t* registers; const char* row; };

/// Lane 8 i + r points at row r of matrix i: 16 bytes. Register i of a lane takes the 4 bytes of row lane / 4 from
/// 4 (lane % 4) on, or, transposed, the 2-byte elements of column lane / 4 in rows 2 (lane % 4) and the next.
template <bool TRANSPOSED> void ldmatrix(uint32_t (&registers)[4], const void* row) {
    if (uintptr_t(row) % 16) emulate::fail("ldmatrix of a row that is not aligned to 16 bytes");
    LdmatrixOperands own{registers, static_cast<const char*>(row)};
    emulate::together(~0u, own, [](auto& lanes) {
        for (int lane = 0; lane < 32; lane++) {
            for (int matrix = 0; matrix < 4; matrix++) {
                auto row = [&](int index) { return lanes[8 * matrix + index]->row; };
                char* to = reinterpret_cast<char*>(&lanes[lane]->registers[matrix]);
                int group = lane / 4, member = lane % 4;
                if (TRANSPOSED) {
                    memcpy(to, row(2 * member) + 2 * group, 2);
                    memcpy(to + 2, row(2 * member + 1) + 2 * group, 2);
                } else {
                    memcpy(to, row(group) + 4 * member, 4);
                }
            }
        }
    });
}
inline void ldmatrix_x4(uint32_t (&registers)[4], const void* row) { ldmatrix<false>(registers, row); }
inline void ldmatrix_x4_trans(uint32_t (&registers)[4], const void* row) { ldmatrix<true>(registers, row); }

struct MmaOperands { float* c; const uint32_t *a, *b; };

/// c (16, 8) += a (16, K) b (K, 8), where 16 or 8 rows of a and b are held as 8 x 4 words of `PER_WORD` elements.
template <int PER_WORD, class Element>
void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Element element) {
    const uint32_t b[2] = {b0, b1};
    MmaOperands own{c, a, b};
    emulate::together(~0u, own, [element](auto& lanes) {
        constexpr int K = 8 * PER_WORD;
        float a[16][K], b[8][K];
        for (int lane = 0; lane < 32; lane++) {
            int group = lane / 4, k = lane % 4 * PER_WORD;
            for (int i = 0; i < PER_WORD; i++) {
                for (int part = 0; part < 4; part++)
                    a[group + part % 2 * 8][k + part / 2 * K / 2 + i] = element(lanes[lane]->a[part], i);
                for (int part = 0; part < 2; part++)
                    b[group][k + part * K / 2 + i] = element(lanes[lane]->b[part], i);
            }
        }
        for (int lane = 0; lane < 32; lane++) {
            for (int part = 0; part < 4; part++) {
                const float* row = a[lane / 4 + part / 2 * 8];
                const float* column = b[lane % 4 * 2 + part % 2];
                double sum = lanes[lane]->c[part];
                for (int k = 0; k < K; k++) sum += double(row[k]) * column[k];
                lanes[lane]->c[part] = sum;
            }
        }
    });
}
inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma<2>(c, a, b0, b1, [](uint32_t word, int i) { return __uint_as_float(i ? word & 0xffff0000 : word << 16); });
}
inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma<1>(c, a, b0, b1, [](uint32_t word, int) {
        if (word & 0x1fff) emulate::fail("mma_tf32 of a number that was not rounded to tf32");
        return __uint_as_float(word);
    });
}
/// Rounds to the 10 mantissa bits of tf32, ties away from zero.
inline uint32_t to_tf32(float x) { return (__float_as_uint(x) + 0x1000) & ~0x1fffu; }

template <int BYTES> void cp_async(void* shared, const void* global, bool present) {
    if (uintptr_t(shared) % BYTES || (present && uintptr_t(global) % BYTES))
        emulate::fail("cp.async of addresses that are not aligned to its size");
    memset(shared, 0xff, BYTES);
    const char* from = present ? static_cast<const char*>(global) : nullptr;
    emulate::current().copies.back().push_back({static_cast<char*>(shared), from, BYTES});
}
inline void cp_async_16(void* shared, const void* global, bool present) { cp_async<16>(shared, global, present); }
inline void cp_async_4(void* shared, const void* global, bool present) { cp_async<4>(shared, global, present); }
inline void cp_async_commit() { emulate::current().copies.emplace_back(); }

/// Until at most `PENDING` of the committed groups of this thread are under way.
template <int PENDING> void cp_async_wait() {
    auto& groups = emulate::current().copies;
    while (groups.size() > PENDING + 1) {
        for (auto& copy : groups.front()) {
            if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
            else memset(copy.to, 0, copy.bytes);
        }
        groups.erase(groups.begin());
    }
}
