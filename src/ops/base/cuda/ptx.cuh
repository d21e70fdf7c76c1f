// Tensor core and copy instructions that CUDA C++ has no functions for, one function each. They run on sm_80
// and later. On the CPU tests/kernels/emulate_ptx.hpp stands for this file.
// Source: PTX ISA manual, "Warp-level matrix instructions" and "Data movement and conversion instructions".
#pragma once

#ifdef __CUDACC__
#include <cstdint>

/// The block's dynamic shared memory.
template <class T> __device__ T* dynamic_shared() {
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    return reinterpret_cast<T*>(shared_bytes);
}

/// Stops a kernel that was launched with other threads or less dynamic shared memory than it is written for.
__device__ inline void expect_launch(unsigned threads, unsigned shared_bytes) {
    unsigned bytes;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
    if (blockDim.x != threads || bytes < shared_bytes) __trap();
}

__device__ inline uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

/// Loads four matrices of 8 rows of 16 bytes: lane 8 i + r gives the address of row r of matrix i, and register i
/// of a lane gets 4 bytes of row lane / 4 of matrix i, from byte 4 (lane % 4) on.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// As `ldmatrix_x4` of matrices of 2-byte elements, each transposed.
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// c (16, 8) += a (16, 16) b (16, 8) of bf16, sums in f32.
__device__ inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// c (16, 8) += a (16, 8) b (8, 8) of numbers rounded by `to_tf32`, sums in f32.
__device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Rounds to the 10 mantissa bits of tf32.
__device__ inline uint32_t to_tf32(float x) {
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}

/// 2^x with a relative error of at most 2^-22; results below 2^-126 become 0.
__device__ inline float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// Starts a copy of 16 aligned bytes to shared memory, or of 16 zeros where there is nothing present to copy.
__device__ inline void cp_async_16(void* shared, const void* global, bool present) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "r"(present ? 16 : 0)
                 : "memory");
}

/// As `cp_async_16` for 4 bytes.
__device__ inline void cp_async_4(void* shared, const void* global, bool present) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "r"(present ? 4 : 0)
                 : "memory");
}

/// Closes the group of copies that this thread started since the last call.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `PENDING` of this thread's groups are under way. Others see the copies after a barrier.
template <int PENDING> __device__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif
