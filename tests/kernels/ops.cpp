// Compares the kernels of all ops but attention, run by emulate.hpp, with plain references in f64. The kernel files
// are included, each in a namespace of its own, so that the kernels are plain functions here.
#include <random>
#include <string>

#include "../../src/ops/base/cuda/table.cuh"

using std::isfinite;

namespace partials {
#include "../../src/ops/base/cuda/partials.cu"
}
namespace rms {
#include "../../src/ops/rms_norm/cuda.cu"
#undef KERNELS
}
namespace ln {
#include "../../src/ops/layer_norm/cuda.cu"
#undef KERNELS
}
namespace turn {
#include "../../src/ops/rope/cuda.cu"
#undef KERNELS
}
namespace glu {
#include "../../src/ops/swiglu/cuda.cu"
#undef KERNELS
}
namespace gelus {
#include "../../src/ops/gelu/cuda.cu"
#undef KERNELS
}
namespace gelu_erfs {
#include "../../src/ops/gelu_erf/cuda.cu"
#undef KERNELS
}
namespace sums {
#include "../../src/ops/base/cuda/combine.cu"
#undef KERNELS
}
namespace dropout {
#include "../../src/ops/dropout_mask/cuda.cu"
#undef KERNELS
}
namespace bias {
#include "../../src/ops/linear/cuda.cu"
#undef KERNELS
}
namespace table {
#include "../../src/ops/embedding/cuda.cu"
#undef KERNELS
}
namespace ce {
#include "../../src/ops/cross_entropy/cuda.cu"
#undef KERNELS
}
namespace pooled {
#include "../../src/ops/pool/cuda.cu"
#undef KERNELS
}
namespace global {
#include "../../src/ops/global_norm/cuda.cu"
}
namespace adam {
#include "../../src/ops/adamw/cuda.cu"
}

using Numbers = std::vector<double>;
using emulate::launch;

static std::mt19937 generator(5);
static bool failed = false;

Numbers normal(size_t count) {
    std::normal_distribution<double> distribution;
    Numbers numbers(count);
    for (double& number : numbers) number = distribution(generator);
    return numbers;
}

/// Numbers as kernels get them; `numbers` become what is left of them.
template <class T> std::vector<T> rounded(Numbers& numbers) {
    std::vector<T> values;
    for (double& number : numbers) {
        values.push_back(from_float<T>(number));
        number = to_float(values.back());
    }
    return values;
}

/// Memory that a kernel must write: NaN.
template <class T> std::vector<T> unwritten(size_t count) { return std::vector<T>(count, from_float<T>(NAN)); }

/// Norm of the difference as a share of the norm of what was expected.
template <class T> void expect(const char* what, const std::vector<T>& found, const Numbers& expected) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        double distance = to_float(found[i]) - expected[i];
        difference += distance * distance;
        norm += expected[i] * expected[i];
    }
    // Sums of some hundred terms in f32; a bf16 is rounded once when it is written.
    const double allowed = sizeof(T) == 2 ? 4e-3 : 2e-6, error = std::sqrt(difference / norm);
    if (!(error <= allowed)) {
        fprintf(stderr, "%s: an error of %.1e, allowed %.0e\n", what, error, allowed);
        failed = true;
    }
}

unsigned blocks(size_t threads) { return (threads + 255) / 256; }

/// RMS norm, or layer norm where there is a bias.
template <class T, class F, class B>
void norms(const char* name, bool centred, int rows, int columns, unsigned warps, F forward, B backward) {
    const double eps = 1e-2;
    Numbers x = normal(rows * columns), w = normal(columns), b = normal(columns), d = normal(rows * columns);
    Numbers base = normal(rows * columns), y_expected, d_x_expected(rows * columns), sums_expected(2 * columns);
    auto x_ = rounded<T>(x), w_ = rounded<T>(w), b_ = rounded<T>(b), d_ = rounded<T>(d), base_ = rounded<T>(base);
    for (int row = 0; row < rows; row++) {
        const double *a = &x[row * columns], *g = &d[row * columns];
        double mean = 0, squares = 0, mean_g = 0, mean_g_n = 0;
        for (int c = 0; c < columns && centred; c++) mean += a[c] / columns;
        for (int c = 0; c < columns; c++) squares += (a[c] - mean) * (a[c] - mean) / columns;
        const double rstd = 1 / std::sqrt(squares + eps);
        for (int c = 0; c < columns; c++) {
            const double n = (a[c] - mean) * rstd;
            y_expected.push_back(n * w[c] + (centred ? b[c] : 0));
            if (centred) mean_g += g[c] * w[c] / columns;
            mean_g_n += g[c] * w[c] * n / columns;
            sums_expected[c] += g[c] * n;
            sums_expected[columns + c] += g[c];
        }
        for (int c = 0; c < columns; c++) {
            const double n = (a[c] - mean) * rstd;
            d_x_expected[row * columns + c] = rstd * (g[c] * w[c] - mean_g - n * mean_g_n) + base[row * columns + c];
        }
    }
    const int width = centred ? 2 * columns : columns;
    sums_expected.resize(width);
    const unsigned parts = std::min(3u, (rows + warps - 1) / warps);
    auto y = unwritten<T>(rows * columns), d_x = unwritten<T>(rows * columns);
    auto parted = unwritten<float>(parts * width), sums = unwritten<float>(width);
    launch(name, (rows + 3) / 4, 128, 0, {y}, [&] { forward(x_, w_, b_, y, float(eps)); });
    launch(name, parts, 32 * warps, warps * width * 4, {d_x, parted}, [&] { backward(x_, w_, d_, base_, d_x, parted, float(eps)); });
    launch(name, (width + 31) / 32, dim3(32, 32), 0, {sums}, [&] { partials::sum_partials(parted.data(), sums.data(), parts, width, 0); });
    expect(name, y, y_expected);
    expect(name, d_x, d_x_expected);
    expect(name, sums, sums_expected);

    for (size_t i = 0; i < x_.size(); i++) x_[i] = from_float<T>(i % 2 ? 1e20f : -1e20f);
    launch(name, (rows + 3) / 4, 128, 0, {}, [&] { forward(x_, w_, b_, y, float(eps)); });
    if (!std::all_of(y.begin(), y.end(), [](T value) { return std::isnan(to_float(value)); })) {
        fprintf(stderr, "%s: squares that overflow made numbers\n", name);
        failed = true;
    }
}

#define NORMS(suffix, T, rows, columns, warps)                                                              \
    norms<T>("rms_norm " #suffix, false, rows, columns, warps,                                              \
        [](auto& x, auto& w, auto&, auto& y, float eps) {                                                   \
            rms::rms_norm_forward_##suffix(x.data(), w.data(), y.data(), rows, columns, eps); },            \
        [](auto& x, auto& w, auto& d, auto& base, auto& d_x, auto& parts, float eps) {                      \
            rms::rms_norm_backward_##suffix(x.data(), w.data(), d.data(), base.data(), d_x.data(),          \
                                            parts.data(), rows, columns, eps); });                          \
    norms<T>("layer_norm " #suffix, true, rows, columns, warps,                                             \
        [](auto& x, auto& w, auto& b, auto& y, float eps) {                                                 \
            ln::layer_norm_forward_##suffix(x.data(), w.data(), b.data(), y.data(), rows, columns, eps); }, \
        [](auto& x, auto& w, auto& d, auto& base, auto& d_x, auto& parts, float eps) {                      \
            ln::layer_norm_backward_##suffix(x.data(), w.data(), d.data(), base.data(), d_x.data(),         \
                                             parts.data(), rows, columns, eps); });

template <class T, class F> void rope(const char* name, int rows, int half, int width, F kernel) {
    const int heads = 3, rotated = 2, positions = 7;
    Numbers x = normal(rows * heads * 2 * half), angles = normal(positions * half), expected = x;
    auto x_ = rounded<T>(x);
    expected = x;
    std::vector<float> cos, sin;
    std::vector<unsigned> at;
    for (double angle : angles) cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));
    for (int row = 0; row < rows; row++) {
        at.push_back(row * 3 % positions);
        for (int head = 0; head < rotated; head++) {
            double* v = &expected[(row * heads + head) * 2 * half];
            for (int i = 0; i < half; i++) {
                const double c = cos[at[row] * half + i], s = -sin[at[row] * half + i], a = v[i], b = v[half + i];
                v[i] = a * c - b * s, v[half + i] = b * c + a * s;
            }
        }
    }
    auto y = unwritten<T>(x.size());
    const unsigned long long threads = rows * heads * half / width;
    launch(name, blocks(threads), 256, 0, {y}, [&] {
        kernel(x_.data(), at.data(), cos.data(), sin.data(), y.data(), threads, heads, half, rotated, positions, -1.0f);
    });
    expect(name, y, expected);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

template <class T, class F, class B>
void swiglu(const char* name, int rows, int columns, int width, F forward, B backward) {
    Numbers x = normal(rows * 2 * columns), d = normal(rows * columns), y_expected, d_x_expected(x.size());
    auto x_ = rounded<T>(x), d_ = rounded<T>(d);
    for (int row = 0; row < rows; row++)
        for (int c = 0; c < columns; c++) {
            const int at = row * 2 * columns + c;
            const double gate = x[at], up = x[at + columns], s = sigmoid(gate), g = d[row * columns + c];
            y_expected.push_back(gate * s * up);
            d_x_expected[at] = g * up * (s + gate * s * (1 - s)), d_x_expected[at + columns] = g * gate * s;
        }
    auto y = unwritten<T>(d.size()), d_x = unwritten<T>(x.size());
    const unsigned long long threads = d.size() / width;
    launch(name, blocks(threads), 256, 0, {y}, [&] { forward(x_.data(), y.data(), threads, columns); });
    launch(name, blocks(threads), 256, 0, {d_x}, [&] { backward(x_.data(), d_.data(), d_x.data(), threads, columns); });
    expect(name, y, y_expected);
    expect(name, d_x, d_x_expected);
}

struct ValueAndSlope {
    double value, slope;
};

ValueAndSlope by_tanh(double x) {
    const double root = std::sqrt(2 / M_PI), t = std::tanh(root * (x + 0.044715 * x * x * x));
    return {x / 2 * (1 + t), (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x)};
}

ValueAndSlope by_erf(double x) {
    const double share = std::erfc(-x / std::sqrt(2)) / 2;
    return {x * share, share + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI)};
}

template <class T, class F, class B>
void gelu(const char* name, ValueAndSlope (*formula)(double), size_t count, int width, F forward, B backward) {
    Numbers x = normal(count), d = normal(count), y_expected, d_x_expected;
    auto x_ = rounded<T>(x), d_ = rounded<T>(d);
    for (size_t i = 0; i < count; i++) {
        const ValueAndSlope at = formula(x[i]);
        y_expected.push_back(at.value);
        d_x_expected.push_back(d[i] * at.slope);
    }
    auto y = unwritten<T>(count), d_x = unwritten<T>(count);
    const unsigned long long threads = count / width;
    launch(name, blocks(threads), 256, 0, {y}, [&] { forward(x_.data(), y.data(), threads); });
    launch(name, blocks(threads), 256, 0, {d_x}, [&] { backward(x_.data(), d_.data(), d_x.data(), threads); });
    expect(name, y, y_expected);
    expect(name, d_x, d_x_expected);
}

template <class T, class F> void add(const char* name, size_t count, int width, F kernel) {
    Numbers a = normal(count), b = normal(count), f = normal(count), all, product;
    auto a_ = rounded<T>(a), b_ = rounded<T>(b), f_ = rounded<T>(f);
    for (size_t i = 0; i < count; i++) all.push_back(a[i] + b[i] * f[i]), product.push_back(b[i] * f[i]);
    auto y = unwritten<T>(count);
    const unsigned long long threads = count / width;
    launch(name, blocks(threads), 256, 0, {y}, [&] { kernel(a_.data(), b_.data(), f_.data(), y.data(), threads); });
    expect(name, y, all);
    launch(name, blocks(threads), 256, 0, {y}, [&] { kernel((T*)nullptr, b_.data(), f_.data(), y.data(), threads); });
    expect(name, y, product);
}

template <class T, class F> void column_sums(const char* name, int rows, int columns, int width, F kernel) {
    Numbers x = normal(rows * columns), expected = normal(columns);
    auto x_ = rounded<T>(x);
    auto sums = rounded<float>(expected); // What the sums are added onto.
    for (int i = 0; i < rows * columns; i++) expected[i % columns] += x[i];
    const unsigned parts = 3;
    auto parted = unwritten<float>(parts * columns);
    launch(name, dim3((columns + 32 * width - 1) / (32 * width), parts), dim3(32, 8), 0, {parted},
           [&] { kernel(x_.data(), parted.data(), rows, columns, columns); });
    launch(name, (columns + 31) / 32, dim3(32, 32), 0, {sums},
           [&] { partials::sum_partials(parted.data(), sums.data(), parts, columns, 1); });
    expect(name, sums, expected);
}

template <class T, class F, class B>
void embedding(const char* name, int rows, int columns, int width, F forward, B backward) {
    const int vocab_size = 37;
    Numbers w = normal(vocab_size * columns), d = normal(rows * columns), y_expected;
    Numbers d_w_expected = normal(vocab_size * columns);
    auto w_ = rounded<T>(w), d_ = rounded<T>(d);
    auto d_w = rounded<float>(d_w_expected); // What the gradient is added onto.
    std::vector<unsigned> ids;
    for (int n = 0; n < rows; n++) {
        ids.push_back(n % 3 ? 5 : n * 7 % vocab_size);
        for (int c = 0; c < columns; c++) {
            y_expected.push_back(w[ids[n] * columns + c]);
            d_w_expected[ids[n] * columns + c] += d[n * columns + c];
        }
    }
    auto y = unwritten<T>(rows * columns);
    const unsigned long long threads = rows * columns / width;
    launch(name, blocks(threads), 256, 0, {y}, [&] { forward(w_.data(), ids.data(), y.data(), threads, columns, vocab_size); });
    launch(name, dim3(4, 2), 256, 0, {d_w}, [&] { backward(d_.data(), ids.data(), d_w.data(), rows, columns, vocab_size); });
    expect(name, y, y_expected);
    expect(name, d_w, d_w_expected);
}

template <class T, class F> void cross_entropy(const char* name, int rows, int vocab_size, int stride, F kernel) {
    Numbers x = normal(rows * stride), losses_expected, d_expected(rows * vocab_size), d_found;
    for (double& number : x) number *= 4;
    auto x_ = rounded<T>(x);
    std::vector<unsigned> targets;
    for (int row = 0; row < rows; row++) {
        targets.push_back(row % 4 == 1 ? 0xffffffffu : row * 11 % vocab_size);
        if (row % 4 == 1) {
            losses_expected.push_back(0);
            continue;
        }
        double sum = 0;
        for (int j = 0; j < vocab_size; j++) sum += std::exp(x[row * stride + j]);
        losses_expected.push_back(std::log(sum) - x[row * stride + targets[row]]);
        for (int j = 0; j < vocab_size; j++)
            d_expected[row * vocab_size + j] = 0.25 * (std::exp(x[row * stride + j]) / sum - (unsigned(j) == targets[row]));
    }
    auto losses = unwritten<float>(rows);
    launch(name, rows, 64, 0, {losses, x_}, [&] {
        kernel(x_.data(), stride, targets.data(), losses.data(), x_.data(), stride, (float*)nullptr, 0.25f, vocab_size);
    });
    expect(name, losses, losses_expected);
    std::vector<T> d;
    for (int row = 0; row < rows; row++)
        d.insert(d.end(), &x_[row * stride], &x_[row * stride] + vocab_size);
    expect(name, d, d_expected);
}

template <class T, class F, class B> void pool(const char* name, int which, F forward, B backward) {
    const int columns = 300;
    const std::vector<unsigned> offsets = {0, 3, 4, 11};
    Numbers x = normal(11 * columns), d = normal(3 * columns), y_expected(3 * columns), d_x_expected(11 * columns);
    auto x_ = rounded<T>(x), d_ = rounded<T>(d);
    for (int s = 0; s < 3; s++)
        for (unsigned row = offsets[s]; row < offsets[s + 1]; row++)
            for (int c = 0; c < columns; c++) {
                const bool only = which == 1 ? row == offsets[s + 1] - 1 : row == offsets[s];
                const double share = which == 0 ? 1.0 / (offsets[s + 1] - offsets[s]) : only;
                y_expected[s * columns + c] += share * x[row * columns + c];
                d_x_expected[row * columns + c] = share * d[s * columns + c];
            }
    auto y = unwritten<T>(3 * columns), d_x = unwritten<T>(11 * columns);
    launch(name, dim3(3, 2), 256, 0, {y}, [&] { forward(x_.data(), offsets.data(), y.data(), columns, which); });
    launch(name, dim3(3, 2), 256, 0, {d_x}, [&] { backward(d_.data(), offsets.data(), d_x.data(), columns, which); });
    expect(name, y, y_expected);
    expect(name, d_x, d_x_expected);
}

/// Three parameters, one of them of several chunks and one that is not aligned, with and without clipping.
void adamw(double max_norm, bool finite) {
    const size_t lens[] = {20001, 5, 301};
    const double beta1 = 0.9, beta2 = 0.99, eps = 1e-3;
    std::vector<std::vector<float>> p, m, v, g;
    std::vector<std::vector<bf16>> copies;
    std::vector<Numbers> p_expected, m_expected, v_expected;
    std::vector<Entry> entries;
    double squares = 0;
    for (size_t len : lens) {
        Numbers first = normal(len), second = normal(len), grad = normal(len + 1), param = normal(len);
        for (double& number : second) number *= number;
        p.push_back(rounded<float>(param)), m.push_back(rounded<float>(first)), v.push_back(rounded<float>(second));
        g.push_back(rounded<float>(grad)), copies.push_back(unwritten<bf16>(len));
        p_expected.push_back(param), m_expected.push_back(first), v_expected.push_back(second);
        for (size_t i = 0; i < len; i++) squares += grad[i + 1] * grad[i + 1];
    }
    const double norm_expected = std::sqrt(squares), scale = max_norm > 0 && norm_expected > max_norm ? max_norm / norm_expected : 1;
    unsigned long long chunks = 0;
    for (int k = 0; k < 3; k++) {
        // The gradient starts one element into its memory, so that 16 bytes cannot be read at once; one parameter
        // has no copy, and its gradient is aligned.
        const float* grad = k == 0 ? g[k].data() : g[k].data() + 1;
        if (k == 0)
            for (size_t i = 0; i < lens[k]; i++) g[k][i] = g[k][i + 1];
        entries.push_back({p[k].data(), k == 2 ? nullptr : copies[k].data(), m[k].data(), v[k].data(), grad, chunks,
                           lens[k], 0.1f * (k + 1), 0.5f * k});
        chunks += (lens[k] + CHUNK - 1) / CHUNK;
        for (size_t i = 0; i < lens[k]; i++) {
            const double grad_i = grad[i] * scale, rate = 0.1f * (k + 1);
            double &a = m_expected[k][i], &b = v_expected[k][i];
            a = beta1 * a + (1 - beta1) * grad_i, b = beta2 * b + (1 - beta2) * grad_i * grad_i;
            p_expected[k][i] = p_expected[k][i] * (1 - rate * 0.5 * k) - rate / 0.271 * a / (std::sqrt(b / 0.0297) + eps);
        }
    }
    std::vector<double> parts(chunks, NAN), norm(1, NAN), loss(1, finite ? 2.0 : NAN);
    std::vector<unsigned> halted(1, 0);
    auto gates = unwritten<float>(2);
    const auto before = p;
    launch("chunk_squares", chunks, 256, 0, {parts}, [&] { global::chunk_squares(entries.data(), 3, parts.data()); });
    launch("finish_norm", 1, 1024, 0, {norm}, [&] { global::finish_norm(parts.data(), chunks, norm.data()); });
    launch("gate", 1, 32, 0, {halted, gates}, [&] { adam::gate(norm.data(), loss.data(), max_norm, halted.data(), gates.data()); });
    launch("adamw", chunks, 256, 0, {p[0], p[1], p[2], m[0], m[1], m[2], v[0], v[1], v[2], copies[0], copies[1]}, [&] {
        adam::adamw(entries.data(), 3, gates.data(), beta1, beta2, eps, 0.271f, 1 / std::sqrt(0.0297f));
    });
    expect("norm", std::vector<float>{float(norm[0])}, {norm_expected});
    if (!finite) {
        if (halted[0] != 1 || p != before) fprintf(stderr, "adamw: a loss that is not finite moved something\n"), failed = true;
        return;
    }
    for (int k = 0; k < 3; k++) {
        expect("adamw param", p[k], p_expected[k]);
        expect("adamw m", m[k], m_expected[k]);
        expect("adamw v", v[k], v_expected[k]);
        if (k < 2) expect("adamw copy", copies[k], p_expected[k]);
    }
}

/// Word `at` of the ChaCha stream of 8 rounds.
unsigned chacha_word(const unsigned (&key)[8], size_t at) {
    unsigned start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];
    std::copy(key, key + 8, start + 4);
    start[12] = unsigned(at / 16);
    std::copy(start, start + 16, x);
    auto mix = [&](int a, int b, int d, int bits) {
        x[a] += x[b];
        const unsigned both = x[d] ^ x[a];
        x[d] = both << bits | both >> (32 - bits);
    };
    // The words that meet in the quarters of two rounds: RFC 8439, 2.3.
    const int quarters[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};
    for (int quarter = 0; quarter < 32; quarter++) {
        const auto [a, b, c, d] = quarters[quarter % 8];
        mix(a, b, d, 16), mix(c, d, b, 12), mix(a, b, d, 8), mix(c, d, b, 7);
    }
    return x[at % 16] + start[at % 16];
}

template <class T, class F> void dropout_mask(const char* name, size_t count, F kernel) {
    // Source: Strombergson 2013, draft-strombergson-chacha-test-vectors-01, TC1 with 256 bits and 8 rounds.
    const unsigned zeros[8] = {}, published[] = {0x2fef003e, 0xd6405f89, 0xe8b85b7f, 0xa1a5091f};
    for (size_t at = 0; at < 4; at++) {
        if (chacha_word(zeros, at) == published[at]) continue;
        fprintf(stderr, "the reference's word %zu is not the published one\n", at);
        failed = true;
    }

    const unsigned key[8] = {1, 2, 0xffffffff, 4, 5, 0x80000000, 7, 8}, threshold = 0x4ccccccc;
    unsigned long long parts[4];
    for (int i = 0; i < 4; i++) parts[i] = key[2 * i] | (unsigned long long)key[2 * i + 1] << 32;
    auto mask = unwritten<T>(count);
    launch(name, blocks((count + 15) / 16), 256, 0, {mask}, [&] {
        kernel(mask.data(), count, parts[0], parts[1], parts[2], parts[3], threshold, 1.25f);
    });
    for (size_t at = 0; at < count; at++) {
        if (to_float(mask[at]) != (chacha_word(key, at) < threshold ? 0 : 1.25f)) {
            fprintf(stderr, "%s: factor %zu of %zu is %g\n", name, at, count, double(to_float(mask[at])));
            failed = true;
            return;
        }
    }
}

#define ALL(suffix, T, width, columns)                                                                                  \
    rope<T>("rope " #suffix, 5, columns, width, turn::rope_##suffix);                                                   \
    swiglu<T>("swiglu " #suffix, 5, columns, width, glu::swiglu_forward_##suffix, glu::swiglu_backward_##suffix);       \
    gelu<T>("gelu " #suffix, by_tanh, 40 * width, width, gelus::gelu_forward_##suffix, gelus::gelu_backward_##suffix);  \
    gelu<T>("gelu_erf " #suffix, by_erf, 40 * width, width, gelu_erfs::gelu_erf_forward_##suffix,                       \
            gelu_erfs::gelu_erf_backward_##suffix);                                                                     \
    add<T>("add " #suffix, 40 * width, width, sums::combine_##suffix);                                                      \
    column_sums<T>("column_sums " #suffix, 70, 9 * columns, width, bias::column_sums_##suffix);                         \
    cross_entropy<T>("cross_entropy " #suffix, 6, 203, width == 1 ? 203 : 208, ce::cross_entropy_##suffix);             \
    cross_entropy<T>("cross_entropy " #suffix, 6, 3, 8, ce::cross_entropy_##suffix);

int main() {
    NORMS(f32, float, 11, 132, 2)
    NORMS(f32_1, float, 7, 33, 8)
    NORMS(bf16, bf16, 11, 264, 4)
    NORMS(bf16_1, bf16, 5, 19, 1)
    ALL(f32, float, 4, 8)
    ALL(f32_1, float, 1, 5)
    ALL(bf16, bf16, 8, 16)
    ALL(bf16_1, bf16, 1, 7)
    embedding<float>("embedding f32", 2100, 36, 4, table::embedding_forward_f32, table::embedding_backward_f32);
    embedding<bf16>("embedding bf16", 50, 40, 8, table::embedding_forward_bf16, table::embedding_backward_bf16);
    embedding<bf16>("embedding bf16_1", 50, 600, 1, table::embedding_forward_bf16_1, table::embedding_backward_bf16);
    for (int which : {0, 1, 2}) {
        pool<float>("pool f32", which, pooled::pool_forward_f32, pooled::pool_backward_f32);
        pool<bf16>("pool bf16", which, pooled::pool_forward_bf16, pooled::pool_backward_bf16);
    }
    for (size_t count : {1, 15, 16, 4800, 4807}) {
        dropout_mask<float>("dropout_mask f32", count, dropout::dropout_mask_f32);
        dropout_mask<bf16>("dropout_mask bf16", count, dropout::dropout_mask_bf16);
    }
    adamw(0, true);
    adamw(3, true);
    adamw(3, false);
    if (failed) return 1;
    printf("every kernel agrees with its reference\n");
}
