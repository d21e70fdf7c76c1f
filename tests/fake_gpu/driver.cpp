// Devices, contexts, streams, events and launches. Source: the comments of cuda.h.
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include <cuda.h>

#include "driver.hpp"

struct CUevent_st {
    CUcontext context;
    bool timed;
    CUstream_st* stream = nullptr;  // Where it was recorded last, and as which task.
    uint64_t at = 0;
    std::chrono::steady_clock::time_point when;
};
struct CUmod_st {
    CUcontext context;
    std::map<std::string, fake::Code> kernels;
    std::map<std::string, std::unique_ptr<CUfunc_st>> functions;
};
struct CUfunc_st {
    CUmod_st* module;
    std::string name;
    fake::Code code;
    fake::Kernel kernel;
    int dynamic_shared_bytes;  // What a launch may ask for.
};

namespace fake {

std::recursive_mutex lock;
thread_local CUcontext current = nullptr;

namespace {

CUctx_st primary;
std::set<const void*> streams, events, modules, functions;

/// Memory of a block that need not be asked for, and all that may be: as little as any GPU since 8.0 gives.
constexpr int UNASKED_SHARED_BYTES = 48 << 10, SHARED_BYTES = 99 << 10;
constexpr unsigned REGISTERS = 1 << 16;

bool lazy() {
    static const bool on = getenv("FAKE_GPU_LAZY") && atoi(getenv("FAKE_GPU_LAZY"));
    return on;
}

}  // namespace

void complain(const char* format, ...) {
    char line[512];
    va_list rest;
    va_start(rest, format);
    vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    fprintf(stderr, "fake GPU: %s\n", line);
    if (const char* strict = getenv("FAKE_GPU_STRICT"); strict && atoi(strict)) abort();
}

void run_until(CUstream_st* stream, uint64_t last) {
    while (stream->done < last && !stream->work.empty()) {
        auto task = std::move(stream->work.front());
        stream->work.pop_front();
        stream->done++;
        task();
    }
}

void enqueue(CUstream_st* stream, std::function<void()> task) {
    stream->work.push_back(std::move(task));
    stream->issued++;
    if (!lazy()) run_until(stream, stream->issued);
}

CUstream_st* stream_of(CUstream_st* handle) {
    static CUstream_st legacy{&primary, {}}, per_thread{&primary, {}};
    if (!handle || handle == CU_STREAM_LEGACY) return &legacy;
    if (handle == CU_STREAM_PER_THREAD) return &per_thread;
    if (streams.count(handle) && !handle->destroyed) return handle;
    complain("%p is no stream", static_cast<void*>(handle));
    return nullptr;
}

std::map<std::string_view, Kernel>& kernels() {
    static std::map<std::string_view, Kernel> all;
    return all;
}

void finish_all() {
    for (auto* stream : {stream_of(nullptr), stream_of(CU_STREAM_PER_THREAD)}) run_until(stream, stream->issued);
    for (auto* each : streams) {
        auto* stream = static_cast<CUstream_st*>(const_cast<void*>(each));
        run_until(stream, stream->issued);
    }
}

}  // namespace fake

using namespace fake;

extern "C" {

CUresult cuInit(unsigned flags) { return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int* version) { return *version = 13000, CUDA_SUCCESS; }

CUresult cuGetErrorName(CUresult status, const char** name) {
    switch (status) {
#define NAME(status) case status: return *name = #status, CUDA_SUCCESS;
        NAME(CUDA_SUCCESS) NAME(CUDA_ERROR_INVALID_VALUE) NAME(CUDA_ERROR_OUT_OF_MEMORY)
        NAME(CUDA_ERROR_INVALID_DEVICE) NAME(CUDA_ERROR_INVALID_CONTEXT) NAME(CUDA_ERROR_INVALID_HANDLE)
        NAME(CUDA_ERROR_NOT_FOUND) NAME(CUDA_ERROR_NOT_READY) NAME(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
        NAME(CUDA_ERROR_ILLEGAL_ADDRESS) NAME(CUDA_ERROR_INVALID_IMAGE) NAME(CUDA_ERROR_NOT_SUPPORTED)
#undef NAME
        default: return *name = nullptr, CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuGetErrorString(CUresult status, const char** text) {
    if (status == CUDA_ERROR_OUT_OF_MEMORY) return *text = "out of memory", CUDA_SUCCESS;
    if (status == CUDA_ERROR_INVALID_DEVICE) return *text = "invalid device ordinal", CUDA_SUCCESS;
    return cuGetErrorName(status, text);
}

CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
    return *device = 0, CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int bytes, CUdevice) {
    snprintf(name, bytes, "fake GPU");
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return *value = 9, CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return *value = 0, CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return *value = 1, CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return *value = 4, CUDA_SUCCESS;
        default: complain("attribute %d of the device is not known here", attribute); return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
    Guard guard(lock);
    primary.users++;
    return *context = &primary, CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice) {
    Guard guard(lock);
    if (primary.users == 0) return refuse(CUDA_ERROR_INVALID_CONTEXT, "the context is released once too often");
    if (--primary.users == 0) finish_all();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) { return *context = current, CUDA_SUCCESS; }

CUresult cuCtxSetCurrent(CUcontext context) {
    if (context && context != &primary) return refuse(CUDA_ERROR_INVALID_CONTEXT, "no context is made current");
    return current = context, CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
    NEEDS_CONTEXT;
    finish_all();
    return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    NEEDS_CONTEXT;
    if (flags != CU_STREAM_NON_BLOCKING) complain("streams that wait for the default stream are not modelled");
    streams.insert(*stream = new CUstream_st{current, {}});
    return CUDA_SUCCESS;
}

/// What is in the stream still runs. The handle stays, since events remember it.
CUresult cuStreamDestroy(CUstream stream) {
    NEEDS_CONTEXT;
    if (!stream_of(stream)) return CUDA_ERROR_INVALID_HANDLE;
    run_until(stream, stream->issued);
    return stream->destroyed = true, CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
    NEEDS_STREAM(stream, handle);
    run_until(stream, stream->issued);
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
    return *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    NEEDS_STREAM(stream, handle);
    if (!events.count(event)) return refuse(CUDA_ERROR_INVALID_HANDLE, "a stream waits for what is no event");
    CUstream_st* other = event->stream;
    uint64_t at = event->at;
    // One that was never recorded is over.
    if (other) enqueue(stream, [=] { run_until(other, at); });
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
    NEEDS_CONTEXT;
    events.insert(*event = new CUevent_st{current, !(flags & CU_EVENT_DISABLE_TIMING)});
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
    NEEDS_CONTEXT;
    if (!events.count(event)) return refuse(CUDA_ERROR_INVALID_HANDLE, "what is no event is destroyed");
    // Its handle is not given out again: work that is under way writes the time into it.
    events.erase(event);
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    if (!events.count(event)) return refuse(CUDA_ERROR_INVALID_HANDLE, "what is no event is recorded");
    if (event->context != stream->context)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "event and stream are of different contexts");
    event->stream = stream, event->at = stream->issued + 1;
    enqueue(stream, [=] { event->when = std::chrono::steady_clock::now(); });
    return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
    NEEDS_CONTEXT;
    if (!events.count(event)) return refuse(CUDA_ERROR_INVALID_HANDLE, "the host waits for what is no event");
    if (event->stream) run_until(event->stream, event->at);
    return CUDA_SUCCESS;
}

/// A little work gets done meanwhile, so that a host that asks again and again comes to an end.
CUresult cuEventQuery(CUevent event) {
    NEEDS_CONTEXT;
    if (!events.count(event)) return refuse(CUDA_ERROR_INVALID_HANDLE, "what is no event is queried");
    if (!event->stream || event->stream->done >= event->at) return CUDA_SUCCESS;
    run_until(event->stream, event->stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    NEEDS_CONTEXT;
    for (CUevent event : {start, end}) {
        if (!events.count(event) || !event->timed || !event->stream)
            return refuse(CUDA_ERROR_INVALID_HANDLE, "the time of an event that has none");
        if (event->stream->done < event->at) return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->when - start->when).count();
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    NEEDS_CONTEXT;
    auto kernels = read_module(static_cast<const char*>(image));
    if (kernels.empty()) return refuse(CUDA_ERROR_INVALID_IMAGE, "a module without kernels");
    modules.insert(*module = new CUmod_st{current, std::move(kernels), {}});
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
    NEEDS_CONTEXT;
    if (!modules.erase(module)) return refuse(CUDA_ERROR_INVALID_HANDLE, "what is no module is unloaded");
    finish_all();
    for (auto& function : module->functions) functions.erase(function.second.get());
    delete module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    NEEDS_CONTEXT;
    if (!modules.count(module)) return refuse(CUDA_ERROR_INVALID_HANDLE, "a function of what is no module");
    auto code = module->kernels.find(name);
    if (code == module->kernels.end()) return refuse(CUDA_ERROR_NOT_FOUND, "the module has no kernel %s", name);
    auto kernel = kernels().find(name);
    if (kernel == kernels().end()) return refuse(CUDA_ERROR_NOT_FOUND, "kernel %s is not written here", name);
    auto& known = module->functions[name];
    if (!known) {
        int unasked = UNASKED_SHARED_BYTES - code->second.static_shared_bytes;
        known.reset(new CUfunc_st{module, name, code->second, kernel->second, unasked});
        functions.insert(known.get());
    }
    return *function = known.get(), CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    NEEDS_CONTEXT;
    if (!functions.count(function)) return refuse(CUDA_ERROR_INVALID_HANDLE, "an attribute of what is no function");
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        return refuse(CUDA_ERROR_INVALID_VALUE, "attribute %d of functions is not known here", attribute);
    if (value < 0 || value + int(function->code.static_shared_bytes) > SHARED_BYTES)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %d bytes of shared memory", function->name.c_str(), value);
    return function->dynamic_shared_bytes = value, CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream handle, void** params,
                        void** extra) {
    NEEDS_STREAM(stream, handle);
    if (!functions.count(function)) return refuse(CUDA_ERROR_INVALID_HANDLE, "what is no function is launched");
    const char* name = function->name.c_str();
    if (function->module->context != stream->context)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "%s is launched in another context", name);
    if (!grid_x || !grid_y || !grid_z || grid_x > 0x7fffffff || grid_y > 65535 || grid_z > 65535)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: a grid of %u x %u x %u", name, grid_x, grid_y, grid_z);
    uint64_t threads = uint64_t(block_x) * block_y * block_z;
    if (!threads || threads > 1024 || block_x > 1024 || block_y > 1024 || block_z > 64)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: blocks of %u x %u x %u", name, block_x, block_y, block_z);
    if (int(shared_bytes) < 0 || int(shared_bytes) > function->dynamic_shared_bytes)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %u bytes of shared memory, %d allowed", name, shared_bytes,
                      function->dynamic_shared_bytes);
    // Registers are handed out to warps, 8 for each lane at a time.
    unsigned warps = (threads + 31) / 32, registers = (function->code.registers + 7) / 8 * 8;
    if (warps * 32 * registers > REGISTERS)
        return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "%s: %u registers for each of %u warps", name, registers,
                      warps);
    if (extra || !params) return refuse(CUDA_ERROR_INVALID_VALUE, "%s: arguments in a buffer", name);
    Launch launch = function->kernel(name, params);
    if (!launch) return CUDA_ERROR_INVALID_VALUE;
    Grid grid = {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes};
    enqueue(stream, [=, name = function->name] { launch(name.c_str(), grid); });
    return CUDA_SUCCESS;
}

}  // extern "C"
