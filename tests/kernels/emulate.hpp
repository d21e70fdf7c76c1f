// Runs CUDA kernels on the CPU to prove their arithmetic and their synchronisation without a GPU.
//
// A kernel file is compiled as C++ with this header included first. Blocks run one after the other; the threads
// of a block are fibers that give way at barriers and warp operations. Found as errors: a barrier or warp
// operation that not all its threads reach, results that depend on the order of threads or blocks, shared
// memory read before it is written (it starts as NaN), asynchronous copies read before they are waited for,
// and, with -fsanitize=address, accesses out of bounds. Not modelled: time, bank conflicts, memory fences.
// Needs x86-64 and g++ with -fno-weak, for shared variables in templates.
#pragma once

#if !defined(__x86_64__)
#error "emulate.hpp: expected x86-64, the only processor its fiber switch is written for"
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>
#include <sanitizer/asan_interface.h>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
constexpr int warpSize = 32;

extern "C" void emulate_switch(void** from, void* to);
extern char __start_emulated_shared[] __attribute__((weak)), __stop_emulated_shared[] __attribute__((weak));

namespace emulate {

/// In which order the blocks, the warps of a block and the lanes of a warp get their turns.
enum class Order { Forward, Backward };

/// Memory that a kernel writes.
struct Output {
    void* data;
    size_t bytes;
    template <class T> Output(std::vector<T>& values) : data(values.data()), bytes(values.size() * sizeof(T)) {}
};

struct Copy { char* to; const char* from; size_t bytes; };

/// One thread of the block.
struct Fiber {
    std::unique_ptr<char[]> stack;
    void* context;
    uint3 index;
    bool waits, done;
    const void* operation;              // The warp operation it waits in, null at a barrier.
    void* operands;
    uint32_t mask;
    std::vector<std::vector<Copy>> copies;  // Asynchronous copies: committed groups, then the open one.
};

struct Block {
    const char* kernel;
    std::vector<Fiber> fibers;
    std::function<void()> body;
    void* scheduler;
    unsigned current, live, at_barrier;
    bool votes;
    std::unique_ptr<char[]> shared;
    size_t shared_bytes;
};

static Block block;

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "%s: block (%u, %u, %u), thread (%u, %u, %u): %s\n", block.kernel, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, what);
    fflush(stdout);
    _Exit(1);  // exit would free the stack that this runs on.
}

inline Fiber& current() { return block.fibers[block.current]; }

/// Lets others run until somebody ends the wait.
inline void give_way() {
    Fiber& fiber = current();
    fiber.waits = true;
    emulate_switch(&fiber.context, block.scheduler);
    threadIdx = fiber.index;
}

inline void fiber_main() {
    threadIdx = current().index;
    block.body();
    for (auto& group : current().copies)
        if (!group.empty()) fail("ends with asynchronous copies that nobody waited for");
    current().done = true;
    block.live--;
    emulate_switch(&current().context, block.scheduler);
    fail("a thread ran on after its end");
}

/// All threads of the block; a thread that ended early is an error. True if `vote` was true for any of them.
inline bool barrier(bool vote = false) {
    if (block.at_barrier == 0) block.votes = false;
    block.votes |= vote;
    current().operation = nullptr;
    if (++block.at_barrier < block.fibers.size()) {
        give_way();
    } else {
        block.at_barrier = 0;
        for (Fiber& fiber : block.fibers) fiber.waits = false;
    }
    return block.votes;
}

/// An operation of the lanes in `mask`: the last lane that arrives runs `all` over the operands of the others,
/// null for lanes outside of the mask. `All` must be a type of its own for each operation.
template <class Operands, class All> void together(uint32_t mask, Operands& operands, All all) {
    static char identity;
    unsigned lane = block.current % 32, first = block.current - lane;
    if (!(mask >> lane & 1)) fail("a warp operation whose mask leaves the calling lane out");
    Fiber& own = current();
    own.operation = &identity, own.operands = &operands, own.mask = mask;
    Operands* lanes[32] = {};
    for (unsigned i = 0; i < 32; i++) {
        if (!(mask >> i & 1)) continue;
        if (first + i >= block.fibers.size()) fail("a warp operation whose mask names lanes past the block");
        Fiber& other = block.fibers[first + i];
        if (i != lane && !other.waits) return give_way();
        if (other.operation != &identity || other.mask != mask) {
            if (other.operation) fail("lanes of one warp are in different warp operations");
            return give_way();
        }
        lanes[i] = static_cast<Operands*>(other.operands);
    }
    all(lanes);
    for (unsigned i = 0; i < 32; i++)
        if (mask >> i & 1) block.fibers[first + i].waits = false;
}

/// Runs lanes until all of them wait or are done; false if none could run.
inline bool run_warp(unsigned warp, Order order) {
    unsigned lanes = std::min<size_t>(32, block.fibers.size() - warp * 32);
    bool ever = false;
    for (bool ran = true; ran; ever |= ran) {
        ran = false;
        for (unsigned i = 0; i < lanes; i++) {
            block.current = warp * 32 + (order == Order::Forward ? i : lanes - 1 - i);
            if (current().done || current().waits) continue;
            emulate_switch(&block.scheduler, current().context);
            ran = true;
        }
    }
    return ever;
}

inline void run_block(Order order) {
    constexpr size_t STACK_BYTES = 256 << 10;
    memset(block.shared.get(), 0xff, block.shared_bytes);
    if (__start_emulated_shared) {
        volatile char* end = __stop_emulated_shared;
        for (volatile char* byte = __start_emulated_shared; byte < end; byte++) *byte = char(0xff);
    }
    block.fibers.resize(size_t(blockDim.x) * blockDim.y * blockDim.z);
    block.live = block.fibers.size(), block.at_barrier = 0;
    for (unsigned i = 0; i < block.fibers.size(); i++) {
        Fiber& fiber = block.fibers[i];
        if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
        // The last thread on this stack never returned from its first function.
        ASAN_UNPOISON_MEMORY_REGION(fiber.stack.get(), STACK_BYTES);
        fiber.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
        fiber.waits = fiber.done = false, fiber.copies.assign(1, {});
        // What emulate_switch takes off a stack: six registers, then the address to go on at. A function
        // starts with its stack pointer 8 past a multiple of 16.
        void** top = reinterpret_cast<void**>(uintptr_t(fiber.stack.get() + STACK_BYTES) & ~uintptr_t(15)) - 8;
        std::fill(top, top + 8, nullptr);
        top[6] = reinterpret_cast<void*>(fiber_main);
        fiber.context = top;
    }
    unsigned warps = (block.fibers.size() + 31) / 32;
    while (block.live > 0) {
        bool ran = false;
        for (unsigned i = 0; i < warps; i++) ran |= run_warp(order == Order::Forward ? i : warps - 1 - i, order);
        if (!ran) fail("this thread and others wait for threads that never come");
    }
}

inline void run_grid(Order order) {
    unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    for (unsigned i = 0; i < blocks; i++) {
        unsigned index = order == Order::Forward ? i : blocks - 1 - i;
        blockIdx = {index % gridDim.x, index / gridDim.x % gridDim.y, index / (gridDim.x * gridDim.y)};
        run_block(order);
    }
}

/// Runs `body`, a call of the kernel, for a whole grid.
inline void run(const char* kernel, dim3 grid, dim3 threads, size_t shared_bytes, Order order,
                std::function<void()> body) {
    block.kernel = kernel, block.body = std::move(body), gridDim = grid, blockDim = threads;
    // No more than asked for, so that the sanitizer sees what lies past it.
    block.shared.reset(new char[shared_bytes]);
    block.shared_bytes = shared_bytes;
    run_grid(order);
}

/// As `run`, in two orders, and demands the same `outputs` to the bit.
inline void launch(const char* kernel, dim3 grid, dim3 threads, size_t shared_bytes,
                   const std::vector<Output>& outputs, std::function<void()> body) {
    auto copy = [&] {
        std::vector<std::vector<char>> copies;
        for (auto& output : outputs) {
            const char* data = static_cast<const char*>(output.data);
            copies.emplace_back(data, data + output.bytes);
        }
        return copies;
    };
    auto before = copy();
    run(kernel, grid, threads, shared_bytes, Order::Forward, body);
    auto forward = copy();
    for (size_t i = 0; i < outputs.size(); i++) memcpy(outputs[i].data, before[i].data(), outputs[i].bytes);
    run(kernel, grid, threads, shared_bytes, Order::Backward, body);
    for (size_t i = 0; i < outputs.size(); i++) {
        if (memcmp(outputs[i].data, forward[i].data(), outputs[i].bytes) == 0) continue;
        fprintf(stderr, "%s: output %zu depends on the order of threads\n", kernel, i);
        exit(1);
    }
}

}  // namespace emulate

// void emulate_switch(void** from, void* to): keeps the registers of the caller on its stack and the stack pointer
// in *from, then goes on where `to` was left.
asm(R"(
.text
.globl emulate_switch
.type emulate_switch, @function
emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulate_switch, .-emulate_switch
)");

#include "emulate_language.hpp"
#include "emulate_ptx.hpp"
