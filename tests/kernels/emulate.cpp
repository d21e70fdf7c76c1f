// Shows that the emulation computes what a GPU does and sees the faults it promises to see. The argument names the
// case; all but "sound" must fail.
#include <string>

constexpr int THREADS = 96;

template <class T> __device__ T warp_sum(T value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(~0u, value, lanes);
    return value;
}

/// The sum of a block's share of x, by sums of warps in shared memory.
template <bool BARRIER> __device__ void sum_rows(const float* x, float* sums) {
    __shared__ float of_warp[THREADS / 32];
    float sum = warp_sum(x[blockIdx.x * THREADS + threadIdx.x]);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
    if (BARRIER) __syncthreads();
    if (threadIdx.x == 0) sums[blockIdx.x] = of_warp[0] + of_warp[1] + of_warp[2];
}

/// Reverses the block's elements through dynamic shared memory, `shift` elements off.
__global__ void reverse(const int* x, int* y, int shift) {
    int* shared = dynamic_shared<int>();
    shared[threadIdx.x + shift] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = shared[THREADS - 1 - threadIdx.x];
}

__global__ void half_a_barrier() {
    if (threadIdx.x < 32) __syncthreads();
}

__global__ void half_a_warp() {
    if (threadIdx.x % 2) __syncwarp();
}

__global__ void copy_rows(const float* x, float* y, bool wait) {
    __shared__ __align__(16) float row[4 * THREADS];
    cp_async_16(row + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
    cp_async_commit();
    if (wait) cp_async_wait<0>();
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = row[4 * threadIdx.x + i];
    cp_async_wait<0>();
}

__global__ void count_in_order(unsigned* counter, unsigned* order) { order[blockIdx.x] = atomicAdd(counter, 1u); }

#define EXPECT(condition) \
    if (!(condition)) { fprintf(stderr, "line %d: expected %s\n", __LINE__, #condition); exit(1); }

void sound() {
    std::vector<float> x(4 * THREADS), sums(2), y(4 * THREADS);
    for (size_t i = 0; i < x.size(); i++) x[i] = i;
    emulate::launch("sum_rows", 2, THREADS, 0, {sums}, [&] { sum_rows<true>(x.data(), sums.data()); });
    EXPECT(sums[0] == 95 * 96 / 2 && sums[1] == 95 * 96 / 2 + 96 * 96);
    emulate::launch("copy_rows", 1, THREADS, 0, {y}, [&] { copy_rows(x.data(), y.data(), true); });
    EXPECT(x == y);
    std::vector<int> from(THREADS), to(THREADS);
    for (int i = 0; i < THREADS; i++) from[i] = i;
    emulate::launch("reverse", 1, dim3(32, 3), 4 * THREADS, {to}, [&] {
        threadIdx.x += 32 * threadIdx.y;
        reverse(from.data(), to.data(), 0);
    });
    EXPECT(to[0] == 95 && to[95] == 0);
    // Halves: 1 + 2^-8 is a tie and goes to the even 1; its neighbour above goes up.
    EXPECT(float(__nv_bfloat16(1.00390625f)) == 1 && float(__nv_bfloat16(1.00390637f)) == 1.0078125f);
    EXPECT(std::isnan(float(__nv_bfloat16(NAN))) && std::isinf(float(__nv_bfloat16(3.4e38f))));
}

int main(int count, char** arguments) {
    std::string name = count > 1 ? arguments[1] : "";
    std::vector<float> x(4 * THREADS, 1.f), y(4 * THREADS);
    std::vector<int> ints(THREADS);
    std::vector<unsigned> counter(1), order(4);
    auto launch = [&](size_t shared, std::function<void()> body) {
        emulate::launch(name.c_str(), order.size(), THREADS, shared, {y, ints, counter, order}, body);
    };
    if (name == "sound") sound();
    else if (name == "no_barrier") launch(0, [&] { sum_rows<false>(x.data(), y.data()); });
    else if (name == "half_a_barrier") launch(0, [] { half_a_barrier(); });
    else if (name == "half_a_warp") launch(0, [] { half_a_warp(); });
    else if (name == "no_wait") {
        launch(0, [&] { copy_rows(x.data(), y.data(), false); });
        EXPECT(x == y);
    } else if (name == "out_of_bounds") launch(4 * THREADS, [&] { reverse(ints.data(), ints.data(), 1); });
    else if (name == "order_of_blocks") launch(0, [&] {
        if (threadIdx.x == 0) count_in_order(counter.data(), order.data());
    });
    else EXPECT(!"the name of a case");
    return 0;
}
