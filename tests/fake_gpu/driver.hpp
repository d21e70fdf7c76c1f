// What the files of the driver share.
#pragma once

#include <cuda.h>

#include "fake_gpu.hpp"

namespace fake {

using Guard = std::lock_guard<std::recursive_mutex>;

/// The context of this thread.
extern thread_local CUcontext current;

/// Runs all that is in all streams.
void finish_all();

}  // namespace fake

/// Names the broken rule and is the status.
#define refuse(status, ...) (fake::complain(__VA_ARGS__), status)

/// Begins a function that works in the context of the thread.
#define NEEDS_CONTEXT                            \
    fake::Guard guard(fake::lock);               \
    if (!fake::current || !fake::current->users) \
    return refuse(CUDA_ERROR_INVALID_CONTEXT, "%s without a context", __func__)

#define NEEDS_STREAM(stream, handle)                       \
    NEEDS_CONTEXT;                                         \
    CUstream_st* stream = fake::stream_of(handle);         \
    if (!stream) return CUDA_ERROR_INVALID_HANDLE
