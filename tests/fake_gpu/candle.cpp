// The kernels of candle that the program asks for, as loops.
//
// Most take the number of elements, of dimensions, and a table of the dimensions, then the strides of each input in
// turn; a null table says that everything is contiguous.
#include <cmath>
#include <cstring>
#include <tuple>

#include "fake_gpu.hpp"

namespace {

struct Bf16 {
    uint16_t bits;
    Bf16() = default;
    Bf16(float x) {
        uint32_t word;
        memcpy(&word, &x, 4);
        bits = x != x ? 0x7fff : (word + 0x7fff + (word >> 16 & 1)) >> 16;
    }
    operator float() const {
        uint32_t word = uint32_t(bits) << 16;
        float x;
        memcpy(&x, &word, 4);
        return x;
    }
};

using Table = const size_t*;

/// Where element i of the `input`th input stands.
size_t place(size_t i, size_t rank, Table table, size_t input = 0) {
    if (!table) return i;
    size_t at = 0;
    for (size_t d = rank; d-- > 0; i /= table[d]) at += i % table[d] * table[rank * (1 + input) + d];
    return at;
}

template <class T> void fill(T* y, T value, size_t count) { std::fill(y, y + count, value); }

template <class T> void const_set(size_t count, size_t rank, Table table, T value, T* y) {
    for (size_t i = 0; i < count; i++) y[place(i, rank, table)] = value;
}

template <class T> void affine(size_t count, size_t rank, Table table, const T* x, T* y, T factor, T offset) {
    for (size_t i = 0; i < count; i++) y[i] = T(T(x[place(i, rank, table)] * factor) + offset);
}

template <class From, class To> void cast(size_t count, size_t rank, Table table, const From* x, To* y) {
    for (size_t i = 0; i < count; i++) y[i] = To(x[place(i, rank, table)]);
}

template <class T>
void copy2d(const T* x, T* y, uint32_t rows, uint32_t columns, uint32_t x_stride, uint32_t y_stride) {
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < columns; c++) y[row * y_stride + c] = x[row * x_stride + c];
}

template <class T, class F> void unary(size_t count, size_t rank, Table table, const T* x, T* y) {
    for (size_t i = 0; i < count; i++) y[i] = T(F()(x[place(i, rank, table)]));
}

template <class T, class F> void binary(size_t count, size_t rank, Table table, const T* a, const T* b, T* y) {
    for (size_t i = 0; i < count; i++) y[i] = T(F()(a[place(i, rank, table)], b[place(i, rank, table, 1)]));
}

template <class T>
void where(size_t count, size_t rank, Table table, const uint32_t* chosen, const T* a, const T* b, T* y) {
    for (size_t i = 0; i < count; i++)
        y[i] = chosen[place(i, rank, table)] ? a[place(i, rank, table, 1)] : b[place(i, rank, table, 2)];
}

/// Sums or extremes over the last dimensions of the table, `share` elements for each result.
template <class T> void sum(size_t count, size_t share, size_t rank, Table table, const T* x, T* y) {
    for (size_t i = 0; i < count / share; i++) {
        double sum = 0;
        for (size_t k = 0; k < share; k++) sum += x[place(i * share + k, rank, table)];
        y[i] = T(sum);
    }
}
/// As `sum`, which is told the number of results instead.
template <class T> void sum_small(size_t results, size_t share, size_t rank, Table table, const T* x, T* y) {
    sum(results * share, share, rank, table, x, y);
}
/// Where the first of the largest of a share is.
template <class T> void argmax(size_t count, size_t share, size_t rank, Table table, const T* x, uint32_t* y) {
    for (size_t i = 0; i < count / share; i++) {
        y[i] = 0;
        for (size_t k = 1; k < share; k++)
            if (x[place(i * share + k, rank, table)] > x[place(i * share + y[i], rank, table)]) y[i] = k;
    }
}
template <class T> void maximum(size_t count, size_t share, size_t rank, Table table, const T* x, T* y) {
    for (size_t i = 0; i < count / share; i++) {
        y[i] = x[place(i * share, rank, table)];
        for (size_t k = 1; k < share; k++) y[i] = std::max<T>(y[i], x[place(i * share + k, rank, table)]);
    }
}

/// y (left, of_ids, right) of x (left, of_x, right), where the ids have the shape of y.
template <class T>
void gather(size_t count, const uint32_t* ids, const T* x, T* y, size_t, size_t of_x, size_t of_ids, size_t right) {
    for (size_t i = 0; i < count; i++) y[i] = x[(i / right / of_ids * of_x + ids[i]) * right + i % right];
}
/// Adds x to y at the ids, the other way round.
template <class T>
void scatter_add(const uint32_t* ids, const T* x, T* y, size_t left, size_t of_x, size_t of_y, size_t right) {
    for (size_t i = 0; i < left * of_x * right; i++) {
        T& at = y[(i / right / of_x * of_y + ids[i]) * right + i % right];
        at = T(at + x[i]);
    }
}
/// As `gather`, with a vector of ids that is the same for all.
template <class T>
void index_select(size_t count, size_t rank, Table table, const uint32_t* ids, const T* x, T* y, size_t, size_t of_x,
                  size_t of_ids, size_t right) {
    for (size_t i = 0; i < count; i++) {
        size_t id = ids[place(i / right % of_ids, rank, table)];
        y[i] = x[(i / right / of_ids * of_x + id) * right + i % right];
    }
}

#define FUNCTION(name, expression) \
    struct name { template <class T> auto operator()(T a, T b = T()) const { return expression; } }
FUNCTION(Copy, a);
FUNCTION(Square, a * a);
FUNCTION(Root, std::sqrt(float(a)));
FUNCTION(Negate, -float(a));
FUNCTION(Exp, std::exp(float(a)));
FUNCTION(Log, std::log(float(a)));
FUNCTION(Reciprocal, 1 / float(a));
FUNCTION(Add, a + b);
FUNCTION(Subtract, a - b);
FUNCTION(Multiply, a * b);
FUNCTION(Divide, a / b);

template <auto KERNEL> struct Plain;
template <class... A, void (*KERNEL)(A...)> struct Plain<KERNEL> {
    template <size_t... I> static fake::Launch read(const char* name, void** params, std::index_sequence<I...>) {
        std::tuple<A...> args(*static_cast<A*>(params[I])...);
        if (!(fake::may_be_passed(name, I, std::get<I>(args)) && ...)) return nullptr;
        return [args](const char*, const fake::Grid&) { std::apply(KERNEL, args); };
    }
    static fake::Launch read(const char* name, void** params) {
        return read(name, params, std::index_sequence_for<A...>{});
    }
};

#define KERNEL(name, ...) fake::kernels()[name] = Plain<__VA_ARGS__>::read;
#define FOR_EACH_TYPE(X) \
    X("f32", float) X("f64", double) X("bf16", Bf16) X("u8", uint8_t) X("u32", uint32_t) X("i64", int64_t)
#define OF_TYPE(name, T)                         \
    KERNEL("fill_" name, fill<T>)                \
    KERNEL("const_set_" name, const_set<T>)      \
    KERNEL("affine_" name, affine<T>)            \
    KERNEL("copy2d_" name, copy2d<T>)            \
    KERNEL("ucopy_" name, unary<T, Copy>)        \
    KERNEL("usqr_" name, unary<T, Square>)       \
    KERNEL("usqrt_" name, unary<T, Root>)        \
    KERNEL("uneg_" name, unary<T, Negate>)       \
    KERNEL("uexp_" name, unary<T, Exp>)          \
    KERNEL("ulog_" name, unary<T, Log>)          \
    KERNEL("urecip_" name, unary<T, Reciprocal>) \
    KERNEL("fast_sum_" name, sum<T>)             \
    KERNEL("fast_sum_small_" name, sum_small<T>) \
    KERNEL("fast_max_" name, maximum<T>)         \
    KERNEL("fast_argmax_" name, argmax<T>)       \
    KERNEL("gather_u32_" name, gather<T>)        \
    KERNEL("sa_u32_" name, scatter_add<T>)       \
    KERNEL("is_u32_" name, index_select<T>)      \
    KERNEL("where_u32_" name, where<T>)          \
    KERNEL("badd_" name, binary<T, Add>)         \
    KERNEL("bsub_" name, binary<T, Subtract>)    \
    KERNEL("bmul_" name, binary<T, Multiply>)    \
    KERNEL("bdiv_" name, binary<T, Divide>)      \
    KERNEL("cast_" name "_f32", cast<T, float>)  \
    KERNEL("cast_" name "_f64", cast<T, double>) \
    KERNEL("cast_" name "_u32", cast<T, uint32_t>) \
    KERNEL("cast_" name "_bf16", cast<T, Bf16>)

__attribute__((constructor)) void list() { FOR_EACH_TYPE(OF_TYPE) }

}  // namespace
