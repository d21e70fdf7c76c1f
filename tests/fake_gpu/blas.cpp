// cuBLASLt's products on the CPU, and the handles of cuBLAS and cuRAND, which the program opens but does not use.
//
// Source: the manual of cuBLAS, section "Using the cuBLASLt API". D = alpha op(A) op(B) + beta C, where matrices have
// their columns one after the other, `ld` elements apart; the epilogue BIAS adds a vector with an element for each row
// of D to every column.
#include <cstdio>
#include <cstring>
#include <set>
#include <vector>

#include "fake_gpu.hpp"

namespace {

enum Status { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { R_32F = 0, R_16BF = 14 };
enum Compute { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
enum Operation { OP_N = 0, OP_T = 1 };
enum DescAttribute { POINTER_MODE = 2, TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS_POINTER = 8 };
enum Epilogue { EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4 };
enum PreferenceAttribute { MAX_WORKSPACE_BYTES = 1, MIN_ALIGNMENT_A_BYTES = 5, MIN_ALIGNMENT_D_BYTES = 8 };

struct Handle { CUstream_st* stream = nullptr; };
struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t ld;

    size_t element_bytes() const { return type == R_16BF ? 2 : 4; }
    size_t bytes() const { return ((columns - 1) * ld + rows) * element_bytes(); }
};
struct Desc {
    int compute, scale_type;
    int operations[2] = {OP_N, OP_N};
    int epilogue = EPILOGUE_DEFAULT;
    const void* bias = nullptr;
};
struct Preference {
    uint64_t workspace_bytes = 0;
    uint32_t alignments[4] = {256, 256, 256, 256};  // Of A, B, C and D.
};
/// What a chosen kernel was chosen for; it runs nothing else.
struct Algo {
    uint64_t magic, sizes[3], alignments;
    uint64_t rest[3];
};
struct HeuristicResult {
    Algo algo;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Algo) == 64, "cublasLtMatmulAlgo_t has eight words");
constexpr uint64_t MAGIC = 0x6d61746d756c;

std::set<const void*> alive;

template <class T> T* made(T* object) {
    std::lock_guard<std::recursive_mutex> guard(fake::lock);
    alive.insert(object);
    return object;
}

template <class T> Status destroyed(T* object) {
    std::lock_guard<std::recursive_mutex> guard(fake::lock);
    if (!alive.erase(object)) {
        fake::complain("cuBLAS: a handle is destroyed that is not alive");
        return INVALID_VALUE;
    }
    delete object;
    return SUCCESS;
}

#define REFUSE(status, ...) return fake::complain("cuBLASLt: " __VA_ARGS__), status

float rounded_to_tf32(float x) {
    uint32_t word;
    memcpy(&word, &x, 4);
    word = (word + 0x1000) & ~0x1fffu;
    memcpy(&x, &word, 4);
    return x;
}

float read(const char* from, size_t at, int type) {
    if (type == R_32F) return reinterpret_cast<const float*>(from)[at];
    uint32_t word = uint32_t(reinterpret_cast<const uint16_t*>(from)[at]) << 16;
    float x;
    memcpy(&x, &word, 4);
    return x;
}

void write(char* to, size_t at, int type, float x) {
    if (type == R_32F) {
        reinterpret_cast<float*>(to)[at] = x;
        return;
    }
    uint32_t word;
    memcpy(&word, &x, 4);
    reinterpret_cast<uint16_t*>(to)[at] = x != x ? 0x7fff : (word + 0x7fff + (word >> 16 & 1)) >> 16;
}

/// op(matrix), its columns one after the other.
std::vector<float> unpacked(const void* from, const Layout& layout, int operation, bool tf32) {
    std::vector<float> numbers(layout.rows * layout.columns);
    for (uint64_t column = 0; column < layout.columns; column++)
        for (uint64_t row = 0; row < layout.rows; row++) {
            float x = read(static_cast<const char*>(from), column * layout.ld + row, layout.type);
            size_t at = operation == OP_T ? row * layout.columns + column : column * layout.rows + row;
            numbers[at] = tf32 ? rounded_to_tf32(x) : x;
        }
    return numbers;
}

/// sums (n, m) = a b, with the columns of a (k, m) and of b (n, k) one after the other.
__attribute__((optimize("O3"), no_sanitize("address"))) void multiply(
    float* sums, const float* a, const float* b, size_t m, size_t n, size_t k) {
    for (size_t j = 0; j < n; j++) {
        float* sum = sums + j * m;
        for (size_t p = 0; p < k; p++) {
            const float factor = b[j * k + p], *column = a + p * m;
            for (size_t i = 0; i < m; i++) sum[i] += factor * column[i];
        }
    }
}

struct Product {
    Desc desc;
    Layout of[4];
    size_t m, n, k;
    float alpha, beta;
};

/// Larger products, which only measure speed, are left out: their results stay as they were.
constexpr double MOST_OPERATIONS = 1e11;

void product(const Product& of, const void* a, const void* b, const void* c, void* d, const void* bias) {
    auto& [desc, layouts, m, n, k, alpha, beta] = of;
    auto& [la, lb, lc, ld] = layouts;
    if (2.0 * m * n * k > MOST_OPERATIONS) return;
    bool tf32 = desc.compute == COMPUTE_32F_FAST_TF32;
    auto a_columns = unpacked(a, la, desc.operations[0], tf32), b_columns = unpacked(b, lb, desc.operations[1], tf32);
    std::vector<float> sums(m * n);
    multiply(sums.data(), a_columns.data(), b_columns.data(), m, n, k);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            float x = alpha * sums[j * m + i];
            if (beta != 0) x += beta * read(static_cast<const char*>(c), j * lc.ld + i, lc.type);
            if (bias) x += read(static_cast<const char*>(bias), i, ld.type);
            write(static_cast<char*>(d), j * ld.ld + i, ld.type, x);
        }
}

/// Sizes m, n, k of a product that is possible, else what is wrong with it.
const char* sizes(const Desc& desc, const Layout* (&of)[4], uint64_t (&mnk)[3]) {
    auto shape = [&](int i) {
        bool turned = i < 2 && desc.operations[i] == OP_T;
        return std::pair(turned ? of[i]->columns : of[i]->rows, turned ? of[i]->rows : of[i]->columns);
    };
    auto [m, k] = shape(0);
    if (shape(1).first != k || shape(2) != shape(3) || shape(3) != std::pair(m, shape(1).second))
        return "matrices whose sizes do not fit";
    mnk[0] = m, mnk[1] = shape(1).second, mnk[2] = k;
    if (!mnk[0] || !mnk[1] || !mnk[2]) return "an empty product";
    for (auto* layout : of) {
        if (layout->ld < int64_t(layout->rows)) return "columns that overlap";
        if (layout->type != R_32F && layout->type != R_16BF) return "elements that are not f32 or bf16";
    }
    if (of[0]->type != of[1]->type || of[2]->type != of[3]->type) return "matrices of types that do not go together";
    if (of[0]->type == R_32F && of[3]->type != R_32F) return "a product of f32 in bf16";
    if (desc.compute != COMPUTE_32F && desc.compute != COMPUTE_32F_FAST_TF32) return "an unknown arithmetic";
    if (desc.compute == COMPUTE_32F_FAST_TF32 && of[0]->type != R_32F) return "TF32 of what is not f32";
    if (desc.scale_type != R_32F) return "factors that are not f32";
    if (desc.epilogue != EPILOGUE_DEFAULT && desc.epilogue != EPILOGUE_BIAS) return "an unknown epilogue";
    return nullptr;
}

/// Everything that the choice of a kernel depends on, apart from sizes and alignments.
void describe(const Desc& desc, const Layout* (&of)[4], uint64_t (&rest)[3]) {
    rest[0] = desc.compute << 16 | desc.operations[0] << 9 | desc.operations[1] << 8 | desc.epilogue;
    rest[1] = of[0]->type << 8 | of[3]->type;
    rest[2] = of[0]->ld + 1000003 * of[1]->ld + 1000003ull * 1000003 * of[2]->ld + 998244353 * of[3]->ld;
}

}  // namespace

extern "C" {

int cublasLtCreate(Handle** handle) { return *handle = made(new Handle), SUCCESS; }
int cublasLtDestroy(Handle* handle) { return destroyed(handle); }
size_t cublasLtGetVersion() { return 130000; }

int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    return *layout = made(new Layout{type, rows, columns, ld}), SUCCESS;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return destroyed(layout); }

int cublasLtMatmulDescCreate(Desc** desc, int compute, int scale_type) {
    return *desc = made(new Desc{compute, scale_type}), SUCCESS;
}
int cublasLtMatmulDescDestroy(Desc* desc) { return destroyed(desc); }

int cublasLtMatmulDescSetAttribute(Desc* desc, int attribute, const void* value, size_t bytes) {
    if (!alive.count(desc)) REFUSE(INVALID_VALUE, "an attribute of no description");
    if (bytes != (attribute == BIAS_POINTER ? 8 : 4))
        REFUSE(INVALID_VALUE, "attribute %d of %zu bytes", attribute, bytes);
    switch (attribute) {
        case TRANSA:
        case TRANSB: memcpy(&desc->operations[attribute - TRANSA], value, 4); return SUCCESS;
        case EPILOGUE: memcpy(&desc->epilogue, value, 4); return SUCCESS;
        case BIAS_POINTER: memcpy(&desc->bias, value, 8); return SUCCESS;
        default: REFUSE(INVALID_VALUE, "attribute %d of a product is not known here", attribute);
    }
}

int cublasLtMatmulPreferenceCreate(Preference** preference) { return *preference = made(new Preference), SUCCESS; }
int cublasLtMatmulPreferenceDestroy(Preference* preference) { return destroyed(preference); }

int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t bytes) {
    if (attribute == MAX_WORKSPACE_BYTES && bytes == 8)
        return memcpy(&preference->workspace_bytes, value, 8), SUCCESS;
    if (attribute >= MIN_ALIGNMENT_A_BYTES && attribute <= MIN_ALIGNMENT_D_BYTES && bytes == 4)
        return memcpy(&preference->alignments[attribute - MIN_ALIGNMENT_A_BYTES], value, 4), SUCCESS;
    REFUSE(INVALID_VALUE, "preference %d of %zu bytes is not known here", attribute, bytes);
}

int cublasLtMatmulAlgoGetHeuristic(Handle* handle, Desc* desc, Layout* a, Layout* b, Layout* c, Layout* d,
                                   Preference* preference, int wanted, HeuristicResult* results, int* found) {
    for (const void* object : {(void*)handle, (void*)desc, (void*)a, (void*)b, (void*)c, (void*)d, (void*)preference})
        if (!alive.count(object)) REFUSE(INVALID_VALUE, "a kernel is asked for with a handle that is not alive");
    const Layout* of[] = {a, b, c, d};
    Algo algo = {MAGIC, {}, 0, {}};
    if (wanted < 1) REFUSE(INVALID_VALUE, "no kernel is asked for");
    if (auto wrong = sizes(*desc, of, algo.sizes)) REFUSE(NOT_SUPPORTED, "%s", wrong);
    for (int i = 0; i < 4; i++) {
        uint32_t alignment = preference->alignments[i];
        if (alignment < of[i]->element_bytes()) REFUSE(NOT_SUPPORTED, "elements across their own alignment");
        algo.alignments |= uint64_t(std::min<uint32_t>(alignment, 256)) << 16 * i;
    }
    describe(*desc, of, algo.rest);
    *results = {algo, std::min<size_t>(preference->workspace_bytes, 1 << 20), SUCCESS, 1, {}};
    return *found = 1, SUCCESS;
}

int cublasLtMatmul(Handle* handle, Desc* desc, const float* alpha, const void* a, Layout* a_layout, const void* b,
                   Layout* b_layout, const float* beta, const void* c, Layout* c_layout, void* d, Layout* d_layout,
                   const Algo* algo, void* workspace, size_t workspace_bytes, CUstream_st* stream_handle) {
    std::lock_guard<std::recursive_mutex> guard(fake::lock);
    if (!alive.count(handle) || !alive.count(desc)) REFUSE(INVALID_VALUE, "a product with a handle that is not alive");
    CUstream_st* stream = fake::stream_of(stream_handle);
    if (!stream) return INVALID_VALUE;
    const Layout* of[] = {a_layout, b_layout, c_layout, d_layout};
    const void* addresses[] = {a, b, c, d};
    Algo needed = {MAGIC, {}, 0, {}};
    if (auto wrong = sizes(*desc, of, needed.sizes)) REFUSE(INVALID_VALUE, "%s", wrong);
    describe(*desc, of, needed.rest);
    if (algo && (algo->magic != MAGIC || memcmp(algo->sizes, needed.sizes, sizeof needed.sizes) ||
                 memcmp(algo->rest, needed.rest, sizeof needed.rest)))
        REFUSE(INVALID_VALUE, "a kernel that was chosen for another product");
    for (int i = 0; i < 4; i++) {
        if (i == 2 && *beta == 0) continue;
        if (!fake::on_device(addresses[i], of[i]->bytes())) REFUSE(INVALID_VALUE, "matrix %d is not on the device", i);
        if (algo && uintptr_t(addresses[i]) % (algo->alignments >> 16 * i & 0xffff))
            REFUSE(INVALID_VALUE, "matrix %d is less aligned than was promised", i);
    }
    if (c == d && (c_layout->ld != d_layout->ld || c_layout->type != d_layout->type))
        REFUSE(INVALID_VALUE, "a product in place with two layouts");
    if (workspace_bytes && (uintptr_t(workspace) % 256 || !fake::on_device(workspace, workspace_bytes)))
        REFUSE(INVALID_VALUE, "a workspace that is not on the device or not aligned to 256 bytes");
    auto [m, n, k] = needed.sizes;
    // The elements of a bias are of the type of D.
    const void* bias = desc->epilogue == EPILOGUE_BIAS ? desc->bias : nullptr;
    if (desc->epilogue == EPILOGUE_BIAS && !fake::on_device(bias, m * d_layout->element_bytes()))
        REFUSE(INVALID_VALUE, "a bias that is not on the device");

    // A kernel may write anything into its workspace.
    if (workspace_bytes)
        fake::enqueue(stream, [=] { memset(workspace, 0xff, std::min<size_t>(workspace_bytes, 4096)); });
    fake::enqueue(stream, [=, m = m, n = n, k = k, desc = *desc, la = *a_layout, lb = *b_layout, lc = *c_layout,
                           ld = *d_layout, alpha = *alpha, beta = *beta] {
        product({desc, {la, lb, lc, ld}, m, n, k, alpha, beta}, a, b, c, d, bias);
    });
    return SUCCESS;
}

int cublasCreate_v2(Handle** handle) { return *handle = made(new Handle), SUCCESS; }
int cublasDestroy_v2(Handle* handle) { return destroyed(handle); }
int cublasSetStream_v2(Handle* handle, CUstream_st* stream) {
    return (handle->stream = fake::stream_of(stream)) ? SUCCESS : INVALID_VALUE;
}

/// Products of `count` matrices that stand `stride` elements apart; in place of C.
int cublasGemmStridedBatchedEx(Handle* handle, int op_a, int op_b, int m, int n, int k, const float* alpha,
                               const char* a, int a_type, int lda, long long a_stride, const char* b, int b_type,
                               int ldb, long long b_stride, const float* beta, char* c, int c_type, int ldc,
                               long long c_stride, int count, int compute, int) {
    std::lock_guard<std::recursive_mutex> guard(fake::lock);
    if (!alive.count(handle)) REFUSE(NOT_INITIALIZED, "a product with a handle that is not alive");
    Desc desc = {compute, R_32F, {op_a, op_b}};
    Layout la = {a_type, uint64_t(op_a ? k : m), uint64_t(op_a ? m : k), lda};
    Layout lb = {b_type, uint64_t(op_b ? n : k), uint64_t(op_b ? k : n), ldb};
    Layout lc = {c_type, uint64_t(m), uint64_t(n), ldc};
    const Layout* of[] = {&la, &lb, &lc, &lc};
    uint64_t mnk[3];
    if (auto wrong = sizes(desc, of, mnk)) REFUSE(INVALID_VALUE, "%s", wrong);
    auto bytes = [&](const Layout& layout, long long stride) {
        return (count - 1) * stride * layout.element_bytes() + layout.bytes();
    };
    if (!fake::on_device(a, bytes(la, a_stride)) || !fake::on_device(b, bytes(lb, b_stride)) ||
        !fake::on_device(c, bytes(lc, c_stride)))
        REFUSE(INVALID_VALUE, "a batch of matrices is not on the device");
    Product one = {desc, {la, lb, lc, lc}, mnk[0], mnk[1], mnk[2], *alpha, *beta};
    fake::enqueue(handle->stream, [=] {
        for (long long i = 0; i < count; i++) {
            char* to = c + i * c_stride * one.of[2].element_bytes();
            product(one, a + i * a_stride * one.of[0].element_bytes(), b + i * b_stride * one.of[1].element_bytes(), to,
                    to, nullptr);
        }
    });
    return SUCCESS;
}

int curandCreateGenerator(Handle** generator, int) { return *generator = made(new Handle), SUCCESS; }
int curandDestroyGenerator(Handle* generator) { return destroyed(generator); }
int curandSetStream(Handle*, CUstream_st* stream) { return fake::stream_of(stream) ? SUCCESS : INVALID_VALUE; }
int curandSetPseudoRandomGeneratorSeed(Handle*, unsigned long long) { return SUCCESS; }

}  // extern "C"
