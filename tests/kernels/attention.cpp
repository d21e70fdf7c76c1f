// Compares the attention kernels, run by emulate.hpp, with a plain reference in f64, and the reference's gradients
// with its finite differences. The kernel file is included, so that the kernels are plain functions here.
#include <random>

#include "../../src/ops/attention/cuda.cu"

struct Case {
    std::vector<int> lengths;
    int num_heads, num_kv_heads, head_dim;
    bool causal = true;
};

using Numbers = std::vector<double>;

/// y = softmax(q k^T / sqrt(D)) v of each head and sequence, and d_qkv where d_y is given.
Numbers reference(const Case& c, const Numbers& qkv, const Numbers* d_y, Numbers* d_qkv) {
    int width = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim, out_width = c.num_heads * c.head_dim, start = 0;
    double scale = 1 / std::sqrt(double(c.head_dim));
    Numbers y(qkv.size() / width * out_width);
    if (d_y) d_qkv->assign(qkv.size(), 0);
    for (int length : c.lengths) {
        for (int head = 0; head < c.num_heads; head++) {
            int kv_head = head / (c.num_heads / c.num_kv_heads);
            int q = head * c.head_dim, k = (c.num_heads + kv_head) * c.head_dim, v = k + c.num_kv_heads * c.head_dim;
            for (int i = start; i < start + length; i++) {
                const int end = c.causal ? i + 1 : start + length;
                Numbers weights;
                double largest = -INFINITY, sum = 0;
                for (int j = start; j < end; j++) {
                    double score = 0;
                    for (int d = 0; d < c.head_dim; d++) score += qkv[i * width + q + d] * qkv[j * width + k + d];
                    weights.push_back(score * scale);
                    largest = std::max(largest, score * scale);
                }
                for (double& weight : weights) sum += weight = std::exp(weight - largest);
                for (double& weight : weights) weight /= sum;
                for (int j = start; j < end; j++)
                    for (int d = 0; d < c.head_dim; d++)
                        y[i * out_width + q + d] += weights[j - start] * qkv[j * width + v + d];
                if (!d_y) continue;
                Numbers d_weights;
                double mean = 0;
                for (int j = start; j < end; j++) {
                    double d_weight = 0;
                    for (int d = 0; d < c.head_dim; d++)
                        d_weight += (*d_y)[i * out_width + q + d] * qkv[j * width + v + d];
                    d_weights.push_back(d_weight);
                    mean += d_weight * weights[j - start];
                }
                for (int j = start; j < end; j++) {
                    double weight = weights[j - start], d_score = weight * (d_weights[j - start] - mean) * scale;
                    for (int d = 0; d < c.head_dim; d++) {
                        (*d_qkv)[j * width + v + d] += weight * (*d_y)[i * out_width + q + d];
                        (*d_qkv)[i * width + q + d] += d_score * qkv[j * width + k + d];
                        (*d_qkv)[j * width + k + d] += d_score * qkv[i * width + q + d];
                    }
                }
            }
        }
        start += length;
    }
    return y;
}

std::mt19937 generator(7);

Numbers normal(size_t count) {
    std::normal_distribution<double> distribution;
    Numbers numbers(count);
    for (double& number : numbers) number = distribution(generator);
    return numbers;
}

[[noreturn]] void fail(const std::string& what) {
    fprintf(stderr, "%s\n", what.c_str());
    exit(1);
}

/// Central differences of sum(y d_y) at some elements; an f64 step of 1e-5 leaves an error of about 1e-9.
void check_reference(bool causal) {
    Case c{{5, 1, 9}, 4, 2, 3, causal};
    Numbers qkv = normal(15 * 8 * 3), d_y = normal(15 * 4 * 3), d_qkv;
    reference(c, qkv, &d_y, &d_qkv);
    for (size_t i = 0; i < qkv.size(); i++) {
        double difference = 0;
        for (double sign : {1., -1.}) {
            Numbers moved = qkv;
            moved[i] += sign * 1e-5;
            Numbers y = reference(c, moved, nullptr, nullptr);
            for (size_t j = 0; j < y.size(); j++) difference += sign * y[j] * d_y[j] / 2e-5;
        }
        if (std::abs(difference - d_qkv[i]) > 1e-8) fail("the reference's gradient is not its finite difference");
    }
}

template <class Element> std::vector<Element> rounded(Numbers& numbers) {
    std::vector<Element> elements;
    for (double& number : numbers) {
        elements.push_back(Element(float(number)));
        number = float(elements.back());
    }
    return elements;
}

/// The largest error of a vector of `head_dim` elements, beside its length or the usual length if that is more.
template <class Element> double error(const std::vector<Element>& got, const Numbers& expected, int head_dim) {
    double squares = 0, largest = 0;
    for (double number : expected) squares += number * number;
    for (size_t start = 0; start < expected.size(); start += head_dim) {
        double own = 0, difference = 0;
        for (size_t i = start; i < start + head_dim; i++) {
            own += expected[i] * expected[i];
            difference += std::pow(double(float(got[i])) - expected[i], 2);
        }
        if (!std::isfinite(difference)) fail("an element was not written or is not finite");
        largest = std::max(largest, difference / std::max(own, squares / expected.size() * head_dim));
    }
    return std::sqrt(largest);
}

std::vector<Tile> tiles_of(const std::vector<int>& lengths, int rows) {
    std::vector<Tile> tiles;
    int begin = 0;
    for (int length : lengths) {
        for (int tile = (length - 1) / rows; tile >= 0; tile--)
            tiles.push_back({begin, begin + length, begin + tile * rows});
        begin += length;
    }
    return tiles;
}

struct Errors { double y = 0, d_qkv = 0; };

/// Runs the three kernels; everything they write starts as NaN.
template <class Forward, class Backward, class F, class Q, class K>
Errors run(const char* name, const Case& c, double size, F forward, Q backward_queries, K backward_keys) {
    using Element = typename Forward::Element;
    int rows = 0, width = (c.num_heads + 2 * c.num_kv_heads) * c.head_dim, out_width = c.num_heads * c.head_dim;
    for (int length : c.lengths) rows += length;
    Numbers qkv = normal(rows * width), d_y = normal(rows * out_width), d_qkv_expected;
    for (double& number : qkv) number *= size;
    auto qkv_elements = rounded<Element>(qkv), d_y_elements = rounded<Element>(d_y);
    Numbers y_expected = reference(c, qkv, &d_y, &d_qkv_expected);

    const Element nan = Element(NAN);
    std::vector<Element> y(rows * out_width, nan), d_qkv(rows * width, nan);
    std::vector<float> lse(rows * c.num_heads, NAN), delta(lse);
    float scale = 1 / std::sqrt(float(c.head_dim));
    auto tiles = tiles_of(c.lengths, Forward::ROWS);
    emulate::launch(name, dim3(tiles.size(), c.num_heads), Forward::THREADS, Forward::FORWARD_BYTES, {y, lse}, [&] {
        forward(qkv_elements.data(), tiles.data(), rows, c.num_heads, c.num_kv_heads, c.head_dim, c.causal, scale, y.data(),
                lse.data());
    });
    tiles = tiles_of(c.lengths, Backward::ROWS);
    emulate::launch(name, dim3(tiles.size(), c.num_heads), Backward::THREADS, Backward::BACKWARD_BYTES, {d_qkv, delta},
                    [&] {
        backward_queries(qkv_elements.data(), y.data(), d_y_elements.data(), lse.data(), tiles.data(), rows,
                         c.num_heads, c.num_kv_heads, c.head_dim, c.causal, scale, d_qkv.data(), delta.data());
    });
    emulate::launch(name, dim3(tiles.size(), c.num_kv_heads), Backward::THREADS, Backward::BACKWARD_BYTES, {d_qkv},
                    [&] {
        backward_keys(qkv_elements.data(), d_y_elements.data(), lse.data(), delta.data(), tiles.data(), rows,
                      c.num_heads, c.num_kv_heads, c.head_dim, c.causal, scale, d_qkv.data());
    });
    return {error(y, y_expected, c.head_dim), error(d_qkv, d_qkv_expected, c.head_dim)};
}

/// Twice what was seen where scores have a standard deviation of 1. bf16 keeps 8 bits of weights, of their gradients
/// and of results; tf32 keeps 11 of factors alone; f32 drops products of about 2^-22 and its exponentials err by as
/// much. Where scores are 16 times as large, so is what their rounding does to weights: 10 times the tolerance.
struct Tolerance { double y, d_qkv; };

template <class Forward, class Backward, class F, class Q, class K>
void check(const char* name, Tolerance tolerance, F forward, Q backward_queries, K backward_keys) {
    constexpr int D = Forward::HEAD_DIM;
    const Case cases[] = {
        {{1}, 1, 1, D},
        {{2, 17, 1, 1, 3}, 2, 1, D},
        {{63, 64, 65}, 1, 1, D},
        {{200}, 2, 2, D},
        {{130, 7}, 4, 2, D},
        {{33, 128}, 3, 1, D - 16},  // Narrower heads than the kernel's.
        {{70}, 2, 1, 8},
        {std::vector<int>(24, 3), 2, 2, D},
    };
    for (auto [causal, size] : {std::pair(true, 1.), {true, 4.}, {false, 1.}}) {
        Errors worst;
        for (Case c : cases) {
            if (size > 1 && c.num_heads < 2) continue;  // Half of the cases will do.
            c.causal = causal;
            Errors errors = run<Forward, Backward>(name, c, size, forward, backward_queries, backward_keys);
            worst = {std::max(worst.y, errors.y), std::max(worst.d_qkv, errors.d_qkv)};
        }
        double factor = size > 1 ? 10 : 1;
        printf("%s, %s, numbers of size %g: errors of y %.1e, d_qkv %.1e\n", name,
               causal ? "causal" : "both directions", size, worst.y, worst.d_qkv);
        if (worst.y > factor * tolerance.y || worst.d_qkv > factor * tolerance.d_qkv)
            fail(std::string(name) + ": a larger error than allowed");
    }
}

#define CHECK(suffix, tolerance)                                                                            \
    check<Forward_##suffix, Backward_##suffix>("attention " #suffix, tolerance, attention_forward_##suffix, \
                                               attention_backward_queries_##suffix, attention_backward_keys_##suffix)

int main(int count, char** arguments) {
    const Tolerance bf16{7e-3, 2e-2}, tf32{2e-3, 5e-3}, f32{1.5e-6, 3e-6};
    std::string kind = count > 1 ? arguments[1] : "";
    check_reference(true), check_reference(false);
    if (kind == "bf16") CHECK(bf16_32, bf16), CHECK(bf16_64, bf16), CHECK(bf16_96, bf16), CHECK(bf16_128, bf16);
    else if (kind == "tf32") CHECK(tf32_32, tf32), CHECK(tf32_64, tf32), CHECK(tf32_96, tf32), CHECK(tf32_128, tf32);
    else if (kind == "f32") CHECK(f32_32, f32), CHECK(f32_64, f32), CHECK(f32_96, f32), CHECK(f32_128, f32);
    else fail("expected bf16, tf32 or f32");
}
