// A GPU that is not there: libcuda, libcublas, libcublasLt and libcurand in one shared library, as much of them as the
// program calls, so that the host side of its CUDA code runs on a machine without a GPU.
//
// Device memory is host memory. Kernels are found by name and run by tests/kernels/emulate.hpp (ours) or by plain C++
// (candle's). What a GPU would refuse is answered with the status that it would give, and named on standard error in a
// line that starts with "fake GPU:"; a program that never breaks a rule causes no such line. Written from NVIDIA's
// documentation, not from what the program expects.
//
// Environment:
//   FAKE_GPU_MIB     its memory (default 4096)
//   FAKE_GPU_LAZY    1: work starts when the host waits for it, not before; copies read the host's memory as late
//   FAKE_GPU_STRICT  1: a broken rule ends the program
//   FAKE_GPU_ORDER   backward: blocks and threads of a kernel take their turns from the last to the first
//
// Not modelled: time, several devices, graphs, and all that tests/kernels/emulate.hpp leaves out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

// The driver's handles are addresses of these.
struct CUctx_st {
    int users = 0;
};
struct CUstream_st {
    CUctx_st* context;
    std::deque<std::function<void()>> work;
    uint64_t issued = 0, done = 0;
    bool destroyed = false;
};

namespace fake {

/// One thread at a time is in the GPU.
extern std::recursive_mutex lock;

/// Writes a line that names a broken rule.
__attribute__((format(printf, 1, 2))) void complain(const char* format, ...);

/// Puts work into a stream; it runs at once unless FAKE_GPU_LAZY.
void enqueue(CUstream_st* stream, std::function<void()> task);

/// Runs the work of a stream up to the `last` task of those ever issued.
void run_until(CUstream_st* stream, uint64_t last);

/// The stream behind a handle, also for the handles of the default streams; null, with a line, for others.
CUstream_st* stream_of(CUstream_st* handle);

/// Whether `bytes` from `address` on lie in one allocation that has not been freed.
bool on_device(const void* address, size_t bytes);

/// Size of a launch.
struct Grid {
    unsigned blocks[3], threads[3], shared_bytes;
};

/// A launch with its arguments, ready to run.
using Launch = std::function<void(const char* name, const Grid&)>;

/// Reads the arguments of a kernel, of its own types, from where `params` points; null, with a line, where a pointer
/// leads to no device memory.
using Kernel = Launch (*)(const char* name, void** params);

/// All kernels that can be run here.
std::map<std::string_view, Kernel>& kernels();

/// What the compiler wrote into a module about a kernel.
struct Code {
    unsigned static_shared_bytes = 0, registers = 0;
};

/// The kernels of a module: a fat binary, whose ELF parts are read, or PTX text.
std::map<std::string, Code> read_module(const char* image);

/// Whether a pointer argument may be passed: null or on the device.
bool may_be_passed(const char* kernel, size_t argument, const void* address);

template <class T> bool may_be_passed(const char*, size_t, const T&) { return true; }
template <class T> bool may_be_passed(const char* kernel, size_t argument, T* const& address) {
    return may_be_passed(kernel, argument, static_cast<const void*>(address));
}

}  // namespace fake
