// Memory of the device, page-locked memory of the host, and copies between them. Source: the comments of cuda.h, and
// "API synchronization behavior" of the driver's manual for what a copy may put off.
#include <cstdlib>
#include <cstring>
#include <map>

#include "driver.hpp"

namespace fake {
namespace {

/// What allocations are aligned to; a GPU's are at least.
constexpr size_t ALIGNMENT = 256;

#ifdef __SANITIZE_ADDRESS__
constexpr size_t GUARD = 0;  // The sanitizer watches.
#else
constexpr size_t GUARD = 64;
#endif
/// POISON makes NaN of every float type, and ids out of range.
constexpr unsigned char GUARD_BYTE = 0xa5, POISON = 0xff;

using Allocations = std::map<const char*, size_t>;
Allocations device, page_locked;
size_t used, used_high, reserved, reserved_high;
uint64_t release_threshold;

size_t all_memory() {
    const char* mib = getenv("FAKE_GPU_MIB");
    return size_t(mib ? atoi(mib) : 4096) << 20;
}

size_t rounded(size_t bytes) { return (bytes + 511) / 512 * 512; }

bool within(const Allocations& allocations, const void* address, size_t bytes) {
    auto next = allocations.upper_bound(static_cast<const char*>(address));
    if (next == allocations.begin()) return false;
    auto& [start, size] = *std::prev(next);
    size_t offset = static_cast<const char*>(address) - start;
    return offset + bytes <= size;
}

void release(char* memory, size_t bytes) {
    for (size_t i = 0; i < GUARD; i++)
        if (static_cast<unsigned char>(memory[bytes + i]) != GUARD_BYTE) {
            complain("something was written past %zu bytes of memory", bytes);
            break;
        }
    memset(memory, POISON, bytes);
    free(memory);
}

CUresult allocate(CUdeviceptr* address, size_t bytes) {
    if (bytes == 0) return refuse(CUDA_ERROR_INVALID_VALUE, "no memory is asked for");
    if (used + rounded(bytes) > all_memory()) return CUDA_ERROR_OUT_OF_MEMORY;
    char* memory;
    if (posix_memalign(reinterpret_cast<void**>(&memory), ALIGNMENT, bytes + GUARD)) abort();
    memset(memory, POISON, bytes);
    memset(memory + bytes, GUARD_BYTE, GUARD);
    device[memory] = bytes;
    used += rounded(bytes), used_high = std::max(used, used_high);
    reserved = std::max(used, reserved), reserved_high = std::max(reserved, reserved_high);
    return *address = reinterpret_cast<CUdeviceptr>(memory), CUDA_SUCCESS;
}

template <class T> T* at(CUdeviceptr address) { return reinterpret_cast<T*>(address); }

CUresult expect_on_device(CUdeviceptr address, size_t bytes, const char* what) {
    if (on_device(at<void>(address), bytes)) return CUDA_SUCCESS;
    return refuse(CUDA_ERROR_INVALID_VALUE, "%s of %zu bytes at %#llx, not on the device", what, bytes, address);
}

}  // namespace

bool on_device(const void* address, size_t bytes) { return within(device, address, bytes); }

bool may_be_passed(const char* kernel, size_t argument, const void* address) {
    if (!address || on_device(address, 0)) return true;
    complain("%s: argument %zu, %p, is not on the device", kernel, argument, address);
    return false;
}

}  // namespace fake

using namespace fake;

extern "C" {

CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) { return *bytes = all_memory(), CUDA_SUCCESS; }

CUresult cuMemGetInfo(size_t* free, size_t* total) {
    NEEDS_CONTEXT;
    *total = all_memory(), *free = *total - reserved;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice) {
    return *pool = reinterpret_cast<CUmemoryPool>(&device), CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    Guard guard(lock);
    if (pool != reinterpret_cast<CUmemoryPool>(&device)) return refuse(CUDA_ERROR_INVALID_VALUE, "no memory pool");
    auto number = *static_cast<uint64_t*>(value);
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) return release_threshold = number, CUDA_SUCCESS;
    if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH && number == 0) return used_high = used, CUDA_SUCCESS;
    if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH && number == 0) return reserved_high = reserved, CUDA_SUCCESS;
    return refuse(CUDA_ERROR_INVALID_VALUE, "attribute %d of the pool cannot be set here", attribute);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    Guard guard(lock);
    if (pool != reinterpret_cast<CUmemoryPool>(&device)) return refuse(CUDA_ERROR_INVALID_VALUE, "no memory pool");
    auto& number = *static_cast<uint64_t*>(value);
    switch (attribute) {
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: return number = release_threshold, CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: return number = reserved, CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: return number = reserved_high, CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: return number = used, CUDA_SUCCESS;
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH: return number = used_high, CUDA_SUCCESS;
        default: return refuse(CUDA_ERROR_INVALID_VALUE, "attribute %d of the pool is not known here", attribute);
    }
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    return allocate(address, bytes);
}

/// The program must not name the memory any more; work that is already in the stream may still use it.
CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    auto found = device.find(at<char>(address));
    if (found == device.end()) return refuse(CUDA_ERROR_INVALID_VALUE, "%#llx is freed, but not allocated", address);
    size_t bytes = found->second;
    device.erase(found);
    used -= rounded(bytes);
    enqueue(stream, [=] { release(at<char>(address), bytes); });
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned flags) {
    NEEDS_CONTEXT;
    unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    if (bytes == 0 || flags & ~known) return refuse(CUDA_ERROR_INVALID_VALUE, "%zu page-locked bytes", bytes);
    if (posix_memalign(memory, 4096, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(*memory, POISON, bytes);
    page_locked[static_cast<char*>(*memory)] = bytes;
    return CUDA_SUCCESS;
}

/// Nothing says that this waits for copies that are under way.
CUresult cuMemFreeHost(void* memory) {
    NEEDS_CONTEXT;
    auto found = page_locked.find(static_cast<char*>(memory));
    if (found == page_locked.end()) return refuse(CUDA_ERROR_INVALID_VALUE, "freed memory that is not page-locked");
    memset(memory, POISON, found->second);
    page_locked.erase(found);
    free(memory);
    return CUDA_SUCCESS;
}

/// Pageable memory is read before this returns, page-locked memory when the copy's turn comes.
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    if (auto wrong = expect_on_device(to, bytes, "a copy to the device")) return wrong;
    if (bytes == 0) return CUDA_SUCCESS;
    if (within(page_locked, from, bytes)) {
        enqueue(stream, [=] { memcpy(at<void>(to), from, bytes); });
    } else {
        std::string staged(static_cast<const char*>(from), bytes);
        enqueue(stream, [=] { memcpy(at<void>(to), staged.data(), bytes); });
    }
    return CUDA_SUCCESS;
}

/// A copy to pageable memory is over when this returns: the manuals up to CUDA 12 say so, later ones that it may be,
/// and candle relies on it.
CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    if (auto wrong = expect_on_device(from, bytes, "a copy to the host")) return wrong;
    if (bytes) enqueue(stream, [=] { memcpy(to, at<void>(from), bytes); });
    if (!within(page_locked, to, bytes)) run_until(stream, stream->issued);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    if (auto wrong = expect_on_device(from, bytes, "a copy from the device")) return wrong;
    if (auto wrong = expect_on_device(to, bytes, "a copy on the device")) return wrong;
    if (bytes) enqueue(stream, [=] { memmove(at<void>(to), at<void>(from), bytes); });
    return CUDA_SUCCESS;
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream handle) {
    NEEDS_STREAM(stream, handle);
    if (auto wrong = expect_on_device(to, bytes, "zeros")) return wrong;
    if (bytes) enqueue(stream, [=] { memset(at<void>(to), value, bytes); });
    return CUDA_SUCCESS;
}

}  // extern "C"
