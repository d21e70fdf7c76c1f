// Our kernels by name, run as C++ by tests/kernels/emulate.hpp, which is included before this file.
#include <cmath>
#include <string>
#include <tuple>

#include "../../src/ops/base/cuda/table.cuh"
#include "fake_gpu.hpp"

using std::isfinite;

// Each file in a namespace of its own, since they use the same names for what they do not share.
namespace partials {
#include "../../src/ops/base/cuda/partials.cu"
}
namespace global_norm_ {
#include "../../src/ops/global_norm/cuda.cu"
}
namespace adamw_ {
#include "../../src/ops/adamw/cuda.cu"
}
namespace combine_ {
#include "../../src/ops/base/cuda/combine.cu"
#undef KERNELS
}
namespace attention_ {
#include "../../src/ops/attention/cuda.cu"
#undef KERNELS
}
namespace cross_entropy_ {
#include "../../src/ops/cross_entropy/cuda.cu"
#undef KERNELS
}
namespace dropout_mask_ {
#include "../../src/ops/dropout_mask/cuda.cu"
#undef KERNELS
}
namespace embedding_ {
#include "../../src/ops/embedding/cuda.cu"
#undef KERNELS
}
namespace gelu_ {
#include "../../src/ops/gelu/cuda.cu"
#undef KERNELS
}
namespace gelu_erf_ {
#include "../../src/ops/gelu_erf/cuda.cu"
#undef KERNELS
}
namespace layer_norm_ {
#include "../../src/ops/layer_norm/cuda.cu"
#undef KERNELS
}
namespace linear_ {
#include "../../src/ops/linear/cuda.cu"
#undef KERNELS
}
namespace pool_ {
#include "../../src/ops/pool/cuda.cu"
#undef KERNELS
}
namespace rms_norm_ {
#include "../../src/ops/rms_norm/cuda.cu"
#undef KERNELS
}
namespace rope_ {
#include "../../src/ops/rope/cuda.cu"
#undef KERNELS
}
namespace swiglu_ {
#include "../../src/ops/swiglu/cuda.cu"
#undef KERNELS
}

namespace {

/// Reads the arguments of a kernel, by its own declaration, and runs it thread by thread.
template <auto KERNEL> struct Emulated;
template <class... A, void (*KERNEL)(A...)> struct Emulated<KERNEL> {
    template <size_t... I> static fake::Launch read(const char* name, void** params, std::index_sequence<I...>) {
        std::tuple<A...> args(*static_cast<A*>(params[I])...);
        if (!(fake::may_be_passed(name, I, std::get<I>(args)) && ...)) return nullptr;
        return [args](const char* name, const fake::Grid& grid) {
            static const char* order = getenv("FAKE_GPU_ORDER");
            static const bool backward = order && std::string(order) == "backward";
            emulate::run(name, {grid.blocks[0], grid.blocks[1], grid.blocks[2]},
                         {grid.threads[0], grid.threads[1], grid.threads[2]}, grid.shared_bytes,
                         backward ? emulate::Order::Backward : emulate::Order::Forward,
                         [&] { std::apply(KERNEL, args); });
        };
    }
    static fake::Launch read(const char* name, void** params) {
        return read(name, params, std::index_sequence_for<A...>{});
    }
};

#define KERNEL(op, name) fake::kernels()[#name] = Emulated<op::name>::read;
#define BOTH(op, name) KERNEL(op, name##_f32) KERNEL(op, name##_bf16)
#define ALL(op, name) BOTH(op, name) KERNEL(op, name##_f32_1) KERNEL(op, name##_bf16_1)
#define ATTENTION(suffix)                              \
    KERNEL(attention_, attention_forward_##suffix)          \
    KERNEL(attention_, attention_backward_queries_##suffix) \
    KERNEL(attention_, attention_backward_keys_##suffix)
#define ATTENTION_OF(type) ATTENTION(type##_32) ATTENTION(type##_64) ATTENTION(type##_96) ATTENTION(type##_128)

__attribute__((constructor)) void list() {
    KERNEL(partials, sum_partials)
    KERNEL(partials, sum_all)
    BOTH(partials, scale_by)
    KERNEL(global_norm_, chunk_squares)
    KERNEL(global_norm_, finish_norm)
    KERNEL(adamw_, gate)
    KERNEL(adamw_, adamw)
    ALL(combine_, combine)
    ATTENTION_OF(bf16)
    ATTENTION_OF(tf32)
    ATTENTION_OF(f32)
    ALL(cross_entropy_, cross_entropy)
    BOTH(dropout_mask_, dropout_mask)
    ALL(embedding_, embedding_forward)
    BOTH(embedding_, embedding_backward)
    ALL(gelu_, gelu_forward)
    ALL(gelu_, gelu_backward)
    ALL(gelu_erf_, gelu_erf_forward)
    ALL(gelu_erf_, gelu_erf_backward)
    ALL(layer_norm_, layer_norm_forward)
    ALL(layer_norm_, layer_norm_backward)
    ALL(linear_, column_sums)
    BOTH(pool_, pool_forward)
    BOTH(pool_, pool_backward)
    ALL(rms_norm_, rms_norm_forward)
    ALL(rms_norm_, rms_norm_backward)
    ALL(rope_, rope)
    ALL(swiglu_, swiglu_forward)
    ALL(swiglu_, swiglu_backward)
}

}  // namespace
