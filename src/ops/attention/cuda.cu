// Attention in the flash manner, causal or in both directions, forward and backward, on tensor cores.
//
// qkv (N, (H + 2K) D) and y (N, H D) are those of mod.rs; N rows of all sequences, none padded. The scores of a
// sequence never exist as a whole: a block owns some rows of one sequence and head, and the rows they meet pass by
// in tiles. Forward keeps lse (H, N), the base-2 logarithm of each row's sum of exponentials, from which backward
// computes the weights again. No sum of backward crosses blocks, so that results repeat to the bit; in return the
// scores are computed twice, for d_q and for d_k and d_v: 7 products instead of 5.
//
// Grid: x is an entry of `tiles`, y a head. A warp owns 16 M rows of its block and all of their sums, so that warps
// share nothing but the tiles.
// Source: Dao 2023, arXiv 2307.08691, algorithms 1 and 2.

#include "tiling.cuh"

constexpr float LOG2_E = 1.44269504f;

/// Shapes of qkv and y: N, H, K, D; whether a row sees itself and those before it alone.
struct Sizes {
    int rows, num_heads, num_kv_heads, head_dim, causal;

    __device__ int group() const { return num_heads / num_kv_heads; }
    __device__ int64_t width() const { return int64_t(num_heads + 2 * num_kv_heads) * head_dim; }
    __device__ int64_t out_width() const { return int64_t(num_heads) * head_dim; }
    /// Where a head's vectors start in a row of qkv; those of a query head start there in a row of y, too.
    __device__ int q(int head) const { return head * head_dim; }
    __device__ int k(int kv_head) const { return q(num_heads + kv_head); }
    __device__ int v(int kv_head) const { return k(num_kv_heads + kv_head); }
    /// Where a head's values of a row stand in lse and delta.
    __device__ int64_t of_row(int head, int row) const { return int64_t(head) * rows + row; }
};

/// An entry of `tiles`: the block owns the rows from `first` on, of the sequence in rows begin..end.
struct Tile {
    int begin, end, first;
};

/// What the blocks of queries have in common: their head's keys and values pass by, up to the last that they see.
template <class T> struct Keys {
    using Element = typename T::Element;
    const Element *k, *v;
    int64_t width;
    int begin, end, last, head_dim;

    __device__ Keys(const Element* qkv, const Tile& tile, int head, const Sizes& sizes)
        : k(qkv + sizes.k(head / sizes.group())), v(qkv + sizes.v(head / sizes.group())), width(sizes.width()),
          begin(tile.begin), end(tile.end),
          last((sizes.causal ? min(tile.first + T::ROWS, tile.end) : tile.end) - 1), head_dim(sizes.head_dim) {}

    __device__ int steps() const { return (last - begin) / T::STREAM + 1; }
    __device__ int first(int step) const { return begin + step * T::STREAM; }
    __device__ void start(int step, Element* stage) const {
        int64_t offset = first(step) * width;
        T::template load<T::STREAM>(stage, k + offset, width, end - first(step), head_dim);
        T::template load<T::STREAM>(stage + T::STREAM_TILE, v + offset, width, end - first(step), head_dim);
    }
};

/// Rows of y and of lse.
template <class T>
__device__ void forward(const typename T::Element* qkv, const Tile* tiles, Sizes sizes, float scale,
                        typename T::Element* y, float* lse) {
    using Element = typename T::Element;
    expect_launch(T::THREADS, T::FORWARD_BYTES);
    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, row = tile.first + T::warp_row();
    const float scale_log2 = scale * LOG2_E;

    Element* q_tile = dynamic_shared<Element>();
    const Element* q_rows = q_tile + T::warp_row() * T::STRIDE;
    T::template load<T::ROWS>(q_tile, qkv + tile.first * sizes.width() + sizes.q(head), sizes.width(),
                              tile.end - tile.first, sizes.head_dim);
    typename T::Sums sums = {};
    typename T::PerRow maximum, total = {};
    T::for_each_row([&](int m, int half, int) { maximum[m][half] = -INFINITY; });

    const Keys<T> keys(qkv, tile, head, sizes);
    auto start = [&](int step, Element* stage) { keys.start(step, stage); };
    T::pipeline(q_tile + T::OWN_TILE, keys.steps(), start, [&](int step, const Element* stage) {
        const int key = keys.first(step);
        if (row >= tile.end || (sizes.causal && key >= row + T::WARP_ROWS)) return;
        typename T::Scores scores;
        T::multiply(scores, q_rows, stage);
        if (key + T::STREAM > (sizes.causal ? row + 1 : tile.end)) {
            T::for_each([&](int m, int n, int i, int query, int column) {
                if (key + column >= (sizes.causal ? row + query + 1 : tile.end)) scores[m][n][i] = -INFINITY;
            });
        }
        // Every row sees the first key, so that its maximum is finite from the first step on.
        typename T::PerRow shrink, new_maximum;
        T::for_each_row([&](int m, int half, int) { new_maximum[m][half] = maximum[m][half]; });
        T::for_each([&](int m, int n, int i, int, int) {
            new_maximum[m][i / 2] = fmaxf(new_maximum[m][i / 2], scores[m][n][i]);
        });
        T::for_each_row([&](int m, int half, int) {
            new_maximum[m][half] = T::row_max(new_maximum[m][half]);
            shrink[m][half] = exp2_approx((maximum[m][half] - new_maximum[m][half]) * scale_log2);
            maximum[m][half] = new_maximum[m][half];
            total[m][half] *= shrink[m][half];
#pragma unroll
            for (auto& pair : sums[m]) pair[2 * half] *= shrink[m][half], pair[2 * half + 1] *= shrink[m][half];
        });
        T::for_each([&](int m, int n, int i, int, int) {
            float& score = scores[m][n][i];
            score = exp2_approx(fmaf(score, scale_log2, -maximum[m][i / 2] * scale_log2));
            total[m][i / 2] += score;
        });
        T::accumulate(sums, scores, stage + T::STREAM_TILE);
    });

    typename T::PerRow factor;
    T::for_each_row([&](int m, int half, int in_warp) {
        float sum = T::row_sum(total[m][half]);
        factor[m][half] = 1 / sum;
        if (T::lane() % 4 == 0 && row + in_warp < tile.end)
            lse[sizes.of_row(head, row + in_warp)] = maximum[m][half] * scale_log2 + log2f(sum);
    });
    T::store(y + row * sizes.out_width() + sizes.q(head), sizes.out_width(), sums, factor, tile.end - row,
             sizes.head_dim);
}

/// The queries' part of d_qkv, and delta (H, N), the sum of y d_y over the elements of a row and head.
template <class T>
__device__ void backward_queries(const typename T::Element* qkv, const typename T::Element* y,
                                 const typename T::Element* d_y, const float* lse, const Tile* tiles, Sizes sizes,
                                 float scale, typename T::Element* d_qkv, float* delta) {
    using Element = typename T::Element;
    expect_launch(T::THREADS, T::BACKWARD_BYTES);
    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, row = tile.first + T::warp_row(), present = tile.end - tile.first;
    const int64_t width = sizes.width(), out_width = sizes.out_width();
    const float scale_log2 = scale * LOG2_E;

    // y is needed before the first keys, and lies in their place.
    Element *q_tile = dynamic_shared<Element>(), *d_y_tile = q_tile + T::OWN_TILE, *stages = d_y_tile + T::OWN_TILE;
    static_assert(T::OWN_TILE <= 2 * T::STAGE, "y has to fit in the stages");
    const int64_t out = tile.first * out_width + sizes.q(head);
    T::template load<T::ROWS>(q_tile, qkv + tile.first * width + sizes.q(head), width, present, sizes.head_dim);
    T::template load<T::ROWS>(d_y_tile, d_y + out, out_width, present, sizes.head_dim);
    T::template load<T::ROWS>(stages, y + out, out_width, present, sizes.head_dim);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const Element *q_rows = q_tile + T::warp_row() * T::STRIDE, *d_y_rows = d_y_tile + T::warp_row() * T::STRIDE;
    typename T::PerRow row_delta, row_lse;
    T::dot_rows(row_delta, stages + T::warp_row() * T::STRIDE, d_y_rows);
    T::for_each_row([&](int m, int half, int in_warp) {
        bool here = row + in_warp < tile.end;
        int64_t at = sizes.of_row(head, row + in_warp);
        row_lse[m][half] = here ? lse[at] : 0;
        if (T::lane() % 4 == 0 && here) delta[at] = row_delta[m][half];
    });
    __syncthreads();

    typename T::Sums d_q = {};
    const Keys<T> keys(qkv, tile, head, sizes);
    auto start = [&](int step, Element* stage) { keys.start(step, stage); };
    T::pipeline(stages, keys.steps(), start, [&](int step, const Element* stage) {
        const int key = keys.first(step);
        if (row >= tile.end || (sizes.causal && key >= row + T::WARP_ROWS)) return;
        typename T::Scores scores, d_weights;
        T::multiply(scores, q_rows, stage);
        T::multiply(d_weights, d_y_rows, stage + T::STREAM_TILE);
        if (key + T::STREAM > (sizes.causal ? row + 1 : tile.end)) {
            T::for_each([&](int m, int n, int i, int query, int column) {
                if (key + column >= (sizes.causal ? row + query + 1 : tile.end)) scores[m][n][i] = -INFINITY;
            });
        }
        T::for_each([&](int m, int n, int i, int, int) {
            float weight = exp2_approx(fmaf(scores[m][n][i], scale_log2, -row_lse[m][i / 2]));
            scores[m][n][i] = weight * (d_weights[m][n][i] - row_delta[m][i / 2]);
        });
        T::accumulate(d_q, scores, stage);
    });

    typename T::PerRow factor;
    T::for_each_row([&](int m, int half, int) { factor[m][half] = scale; });
    T::store(d_qkv + row * width + sizes.q(head), width, d_q, factor, tile.end - row, sizes.head_dim);
}

/// The keys' and values' part of d_qkv; grid y is the key-value head. Scores stand transposed here: the warp's rows
/// are keys, and its columns are queries, of all heads that use these keys one after the other.
template <class T>
__device__ void backward_keys(const typename T::Element* qkv, const typename T::Element* d_y, const float* lse,
                              const float* delta, const Tile* tiles, Sizes sizes, float scale,
                              typename T::Element* d_qkv) {
    using Element = typename T::Element;
    expect_launch(T::THREADS, T::BACKWARD_BYTES);
    const Tile tile = tiles[gridDim.x - 1 - blockIdx.x];  // The first keys of a sequence have the most work.
    const int kv_head = blockIdx.y, row = tile.first + T::warp_row(), present = tile.end - tile.first;
    const int64_t width = sizes.width(), out_width = sizes.out_width();
    const float scale_log2 = scale * LOG2_E;

    Element *k_tile = dynamic_shared<Element>(), *v_tile = k_tile + T::OWN_TILE;
    const Element *k_rows = k_tile + T::warp_row() * T::STRIDE, *v_rows = v_tile + T::warp_row() * T::STRIDE;
    const Element* own = qkv + tile.first * width;
    T::template load<T::ROWS>(k_tile, own + sizes.k(kv_head), width, present, sizes.head_dim);
    T::template load<T::ROWS>(v_tile, own + sizes.v(kv_head), width, present, sizes.head_dim);
    typename T::Sums d_k = {}, d_v = {};

    // With a causal mask only queries from the block's first row on see its keys.
    const int from = sizes.causal ? tile.first : tile.begin, steps = (tile.end - from - 1) / T::STREAM + 1;
    auto first_query = [&](int step) { return from + step % steps * T::STREAM; };
    auto start = [&](int step, Element* stage) {
        int head = kv_head * sizes.group() + step / steps, query = first_query(step), left = tile.end - query;
        int64_t at = sizes.of_row(head, query);
        T::template load<T::STREAM>(stage, qkv + query * width + sizes.q(head), width, left, sizes.head_dim);
        T::template load<T::STREAM>(stage + T::STREAM_TILE, d_y + query * out_width + sizes.q(head), out_width, left,
                                    sizes.head_dim);
        // Queries past the end have a weight of 2^0, a d_y and a delta of 0, and so add nothing.
        T::load_row_values(stage, lse + at, delta + at, left);
    };
    T::pipeline(v_tile + T::OWN_TILE, sizes.group() * steps, start, [&](int step, Element* stage) {
        const int query = first_query(step);
        if (row >= tile.end || (sizes.causal && query + T::STREAM <= row)) return;
        const float *query_lse = T::row_values(stage), *query_delta = query_lse + T::STREAM;
        typename T::Scores weights, d_scores;
        T::multiply(weights, k_rows, stage);
        if (sizes.causal && query < row + T::WARP_ROWS - 1) {
            T::for_each([&](int m, int n, int i, int key, int column) {
                if (row + key > query + column) weights[m][n][i] = -INFINITY;
            });
        }
        T::for_each([&](int m, int n, int i, int, int column) {
            weights[m][n][i] = exp2_approx(fmaf(weights[m][n][i], scale_log2, -query_lse[column]));
        });
        T::accumulate(d_v, weights, stage + T::STREAM_TILE);
        T::multiply(d_scores, v_rows, stage + T::STREAM_TILE);
        T::for_each([&](int m, int n, int i, int, int column) {
            d_scores[m][n][i] = weights[m][n][i] * (d_scores[m][n][i] - query_delta[column]);
        });
        T::accumulate(d_k, d_scores, stage);
    });

    typename T::PerRow factor;
    T::for_each_row([&](int m, int half, int) { factor[m][half] = scale; });
    Element* d_own = d_qkv + row * width;
    T::store(d_own + sizes.k(kv_head), width, d_k, factor, tile.end - row, sizes.head_dim);
    T::for_each_row([&](int m, int half, int) { factor[m][half] = 1; });
    T::store(d_own + sizes.v(kv_head), width, d_v, factor, tile.end - row, sizes.head_dim);
}

/// The least shared memory that a GPU of compute capability 8.0 or more gives a block: that of 8.6, 8.9 and 12.x.
/// Source: CUDA C++ Programming Guide 13.0, technical specifications per compute capability.
constexpr unsigned LEAST_SHARED_BYTES = 99 << 10;

/// The kernels of an arithmetic, for heads of at most HEAD_DIM elements. After that, M, WARPS and STREAM of forward and
/// of backward: as many rows per warp as registers hold without spilling, and as any GPU's shared memory does.
#define KERNELS(suffix, Arithmetic, HEAD_DIM, M, WARPS, STREAM, BACKWARD_M, BACKWARD_WARPS, BACKWARD_STREAM)          \
    using Forward_##suffix = Tiling<Arithmetic, HEAD_DIM, M, WARPS, STREAM>;                                          \
    using Backward_##suffix = Tiling<Arithmetic, HEAD_DIM, BACKWARD_M, BACKWARD_WARPS, BACKWARD_STREAM>;              \
    static_assert(Forward_##suffix::FORWARD_BYTES <= LEAST_SHARED_BYTES, "tiles of forward " #suffix);                \
    static_assert(Backward_##suffix::BACKWARD_BYTES <= LEAST_SHARED_BYTES, "tiles of backward " #suffix);             \
    extern "C" __global__ void __launch_bounds__(Forward_##suffix::THREADS) attention_forward_##suffix(               \
        const Arithmetic::Element* qkv, const Tile* tiles, int rows, int num_heads, int num_kv_heads, int head_dim,   \
        int causal, float scale, Arithmetic::Element* y, float* lse) {                                                \
        forward<Forward_##suffix>(qkv, tiles, {rows, num_heads, num_kv_heads, head_dim, causal}, scale, y, lse);      \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(Backward_##suffix::THREADS) attention_backward_queries_##suffix(     \
        const Arithmetic::Element* qkv, const Arithmetic::Element* y, const Arithmetic::Element* d_y,                 \
        const float* lse, const Tile* tiles, int rows, int num_heads, int num_kv_heads, int head_dim, int causal,     \
        float scale, Arithmetic::Element* d_qkv, float* delta) {                                                      \
        backward_queries<Backward_##suffix>(qkv, y, d_y, lse, tiles,                                                  \
                                            {rows, num_heads, num_kv_heads, head_dim, causal}, scale, d_qkv, delta);  \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(Backward_##suffix::THREADS) attention_backward_keys_##suffix(        \
        const Arithmetic::Element* qkv, const Arithmetic::Element* d_y, const float* lse, const float* delta,         \
        const Tile* tiles, int rows, int num_heads, int num_kv_heads, int head_dim, int causal, float scale,          \
        Arithmetic::Element* d_qkv) {                                                                                 \
        backward_keys<Backward_##suffix>(qkv, d_y, lse, delta, tiles,                                                 \
                                         {rows, num_heads, num_kv_heads, head_dim, causal}, scale, d_qkv);            \
    }

KERNELS(bf16_32, Bf16, 32, 2, 4, 64, 2, 4, 32)
KERNELS(bf16_64, Bf16, 64, 2, 4, 64, 2, 4, 32)
KERNELS(bf16_96, Bf16, 96, 2, 4, 32, 1, 8, 32)
KERNELS(bf16_128, Bf16, 128, 2, 4, 32, 1, 7, 32)
KERNELS(f32_32, F32<true>, 32, 1, 4, 32, 1, 4, 32)
KERNELS(f32_64, F32<true>, 64, 1, 4, 32, 1, 4, 32)
KERNELS(f32_96, F32<true>, 96, 1, 4, 32, 1, 4, 16)
KERNELS(f32_128, F32<true>, 128, 1, 4, 16, 1, 3, 16)
KERNELS(tf32_32, F32<false>, 32, 1, 4, 32, 1, 4, 32)
KERNELS(tf32_64, F32<false>, 64, 1, 4, 32, 1, 4, 32)
KERNELS(tf32_96, F32<false>, 96, 1, 4, 32, 1, 4, 16)
KERNELS(tf32_128, F32<false>, 128, 1, 4, 16, 1, 3, 16)
