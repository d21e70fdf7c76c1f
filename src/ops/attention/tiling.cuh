// Tiles in shared memory, and products of tiles by warps, for the attention kernels.
#pragma once

#include "arithmetic.cuh"

/// Sizes of a kernel's tiles. A block owns ROWS rows, 16 M for each of its warps; STREAM rows at a time of those they
/// meet pass by in shared memory. Rows are padded by 16 bytes, so that the 8 rows which one ldmatrix reads lie in
/// different banks.
template <class Arithmetic_, int HEAD_DIM_, int M_, int WARPS_, int STREAM_> struct Tiling {
    using Arithmetic = Arithmetic_;
    using Element = typename Arithmetic::Element;
    static constexpr int HEAD_DIM = HEAD_DIM_, M = M_, STREAM = STREAM_, STEP = Arithmetic::STEP;
    static constexpr int THREADS = 32 * WARPS_, WARP_ROWS = 16 * M, ROWS = WARP_ROWS * WARPS_;
    static constexpr int CHUNK = 16 / sizeof(Element), STRIDE = HEAD_DIM + CHUNK;
    static constexpr int OWN_TILE = ROWS * STRIDE, STREAM_TILE = STREAM * STRIDE;
    /// Two tiles, and two floats for each of their rows.
    static constexpr int STAGE = 2 * STREAM_TILE + 2 * STREAM * sizeof(float) / sizeof(Element);

    static constexpr unsigned FORWARD_BYTES = (OWN_TILE + 2 * STAGE) * sizeof(Element);
    static constexpr unsigned BACKWARD_BYTES = (2 * OWN_TILE + 2 * STAGE) * sizeof(Element);

    using Scores = float[M][STREAM / 8][4];  // (16 M, STREAM)
    using Sums = float[M][HEAD_DIM / 8][4];  // (16 M, HEAD_DIM)
    using PerRow = float[M][2];              // (16 M): rows g and g + 8 of each 16 in lane 4 g + t

    static __device__ int lane() { return threadIdx.x % 32; }
    /// The first row of this warp within its block.
    static __device__ int warp_row() { return threadIdx.x / 32 * WARP_ROWS; }

    /// Calls `work(m, n, i, row, column)` for the elements of scores that this lane holds.
    template <class Work> static __device__ void for_each(Work work) {
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int n = 0; n < STREAM / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    work(m, n, i, 16 * m + i / 2 * 8 + lane() / 4, 8 * n + lane() % 4 * 2 + i % 2);
                }
            }
        }
    }

    /// Calls `work(m, half, row)` for the rows of which this lane holds elements.
    template <class Work> static __device__ void for_each_row(Work work) {
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) work(m, half, 16 * m + 8 * half + lane() / 4);
        }
    }

    /// Starts to copy the first `present` of ROW_COUNT rows of `head_dim` elements; all else becomes 0.
    template <int ROW_COUNT>
    static __device__ void load(Element* tile, const Element* from, int64_t width, int present, int head_dim) {
        // As many threads for a row as its number of chunks has as a factor that is a power of two.
        constexpr int CHUNKS = HEAD_DIM / CHUNK, LANES = CHUNKS & -CHUNKS, STEP_ROWS = THREADS / LANES;
        const int row = threadIdx.x / LANES, column = threadIdx.x % LANES * CHUNK;
        tile += row * STRIDE + column, from += row * width + column;
#pragma unroll
        for (int rows = 0; rows < ROW_COUNT; rows += STEP_ROWS) {
            if (ROW_COUNT % STEP_ROWS != 0 && rows + row >= ROW_COUNT) break;
#pragma unroll
            for (int columns = 0; columns < HEAD_DIM; columns += LANES * CHUNK) {
                bool here = rows + row < present && columns + column < head_dim;
                cp_async_16(tile + rows * STRIDE + columns, from + rows * width + columns, here);
            }
        }
    }

    /// The two floats of each row of a stage stand behind its tiles: first all of one, then all of the other.
    static __device__ float* row_values(Element* stage) { return reinterpret_cast<float*>(stage + 2 * STREAM_TILE); }

    static __device__ void load_row_values(Element* stage, const float* first, const float* second, int present) {
        static_assert(STREAM <= THREADS, "a thread for each row");
        const int i = threadIdx.x;
        if (i >= STREAM) return;
        cp_async_4(row_values(stage) + i, first + i, i < present);
        cp_async_4(row_values(stage) + STREAM + i, second + i, i < present);
    }

    /// Step k of 16 rows as left operand.
    static __device__ void load_left(uint32_t (&a)[4], const Element* rows, int k) {
        ldmatrix_x4(a, rows + lane() % 16 * STRIDE + k * STEP + lane() / 16 * CHUNK);
    }

    /// scores = own stream^T, of this warp's rows with a stream tile.
    static __device__ void multiply(Scores& scores, const Element* own, const Element* stream) {
        const Element* right = stream + (lane() % 8 + lane() / 16 * 8) * STRIDE + lane() / 8 % 2 * CHUNK;
        for_each([&](int m, int n, int i, int, int) { scores[m][n][i] = 0; });
#pragma unroll
        for (int k = 0; k < HEAD_DIM / STEP; k++) {
            uint32_t a[M][4], b[4];
#pragma unroll
            for (int m = 0; m < M; m++) load_left(a[m], own + 16 * m * STRIDE, k);
#pragma unroll
            for (int n = 0; n < STREAM / 16; n++) {
                ldmatrix_x4(b, right + 16 * n * STRIDE + k * STEP);
#pragma unroll
                for (int m = 0; m < M; m++) {
                    Arithmetic::mma(scores[m][2 * n], a[m], b[0], b[1]);
                    Arithmetic::mma(scores[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    /// sums += scores stream.
    static __device__ void accumulate(Sums& sums, const Scores& scores, const Element* stream) {
#pragma unroll
        for (int k = 0; k < STREAM / STEP; k++) {
            uint32_t a[M][4], b[4];
#pragma unroll
            for (int m = 0; m < M; m++) Arithmetic::to_left(a[m], scores[m] + k * STEP / 8);
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 16; n++) {
                Arithmetic::load_right(b, stream + k * STEP * STRIDE + 16 * n, STRIDE, lane());
#pragma unroll
                for (int m = 0; m < M; m++) {
                    Arithmetic::mma(sums[m][2 * n], a[m], b[0], b[1]);
                    Arithmetic::mma(sums[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    /// The inner products of this warp's rows of two tiles.
    static __device__ void dot_rows(PerRow& products, const Element* a_rows, const Element* b_rows) {
        for_each_row([&](int m, int half, int) { products[m][half] = 0; });
#pragma unroll
        for (int k = 0; k < HEAD_DIM / STEP; k++) {
#pragma unroll
            for (int m = 0; m < M; m++) {
                uint32_t a[4], b[4];
                load_left(a, a_rows + 16 * m * STRIDE, k);
                load_left(b, b_rows + 16 * m * STRIDE, k);
#pragma unroll
                for (int i = 0; i < 4; i++) products[m][i % 2] += Arithmetic::dot(a[i], b[i]);
            }
        }
        for_each_row([&](int m, int half, int) { products[m][half] = row_sum(products[m][half]); });
    }

    /// Writes the first `present` of this warp's rows of sums, each times its factor.
    static __device__ void store(Element* to, int64_t width, const Sums& sums, const PerRow& factor, int present,
                                 int head_dim) {
        for_each_row([&](int m, int half, int row) {
            if (row >= present) return;
#pragma unroll
            for (int n = 0; n < HEAD_DIM / 8; n++) {
                int column = 8 * n + lane() % 4 * 2;
                const float* pair = sums[m][n] + 2 * half;
                if (column >= head_dim) continue;
                Arithmetic::store(to + row * width + column, pair[0] * factor[m][half], pair[1] * factor[m][half]);
            }
        });
    }

    /// The sum and the maximum over the four lanes that hold a row.
    static __device__ float row_sum(float x) {
        x += __shfl_xor_sync(~0u, x, 1);
        return x + __shfl_xor_sync(~0u, x, 2);
    }
    static __device__ float row_max(float x) {
        x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
        return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
    }

    /// Runs `work(step, stage)` for all steps, while the copies that `start(step, stage)` begins for the next step
    /// are under way to the other one of two stages.
    template <class Start, class Work>
    static __device__ void pipeline(Element* stages, int steps, Start start, Work work) {
        start(0, stages);
        for (int step = 0; step < steps; step++) {
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();  // This step's copies are there for all, and nobody reads the other stage any more.
            if (step + 1 < steps) start(step + 1, stages + (step + 1) % 2 * STAGE);
            work(step, stages + step % 2 * STAGE);
        }
    }
};
