// Measures what this machine can do at most, as the scale for the benchmarks' shares: single-precision fused
// multiply-adds and reading from memory, on all threads at once. Prints one JSON object.
//
//   clang++-22 -O2 -march=native -pthread probe.cpp -o probe && ./probe [THREADS]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

#ifdef __AVX512F__
constexpr const char *kIsa = "avx512";
constexpr double kLanes = 16;
#define REGISTER "zmm"
#else
constexpr const char *kIsa = "avx2";
constexpr double kLanes = 8;
#define REGISTER "ymm"
#endif

// Independent chains hide the latency of a multiply-add: twelve are enough for two units of four cycles. Assembly, since
// a compiler would see that all chains compute the same and keep one.
#define CHAIN(N) "vfmadd231ps %%" REGISTER "12, %%" REGISTER "13, %%" REGISTER #N "\n\t"
#define TWELVE_CHAINS                                                                                                  \
  CHAIN(0) CHAIN(1) CHAIN(2) CHAIN(3) CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7) CHAIN(8) CHAIN(9) CHAIN(10) CHAIN(11)

/// Multiply-adds of one thread, in GFLOP/s.
double multiplyAddRate(double seconds) {
  constexpr long kRounds = 100000;
  double operations = 0, elapsed = 0;
  auto start = Clock::now();
  do {
    long rounds = kRounds;
    asm volatile("vxorps %%xmm12, %%xmm12, %%xmm12\n\t"
                 "vxorps %%xmm13, %%xmm13, %%xmm13\n\t"
                 "0:\n\t" TWELVE_CHAINS "sub $1, %0\n\t"
                 "jnz 0b\n\t"
                 : "+r"(rounds)
                 :
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                   "xmm11", "xmm12", "xmm13");
    operations += kRounds * 12.0 * kLanes * 2.0;
    elapsed = secondsSince(start);
  } while (elapsed < seconds);
  return operations / elapsed / 1e9;
}

/// Reading of one thread from a buffer far larger than the caches, in GB/s. Four streams keep the prefetchers busy.
double readRate(const char *buffer, size_t size, double seconds) {
  const size_t quarter = size / 4;
  double bytes = 0, elapsed = 0;
  auto start = Clock::now();
  do {
    for (size_t at = 0; at < quarter; at += 64)
      for (int stream = 0; stream < 4; ++stream)
        asm volatile("vmovaps (%0), %%ymm0\n\t"
                     "vmovaps 32(%0), %%ymm1\n\t"
                     :
                     : "r"(buffer + stream * quarter + at)
                     : "xmm0", "xmm1");
    bytes += double(size);
    elapsed = secondsSince(start);
  } while (elapsed < seconds);
  return bytes / elapsed / 1e9;
}

/// Runs `work(thread)` on all threads, started together, and adds up the rates.
template <typename Work> double onAll(int threads, Work work) {
  std::vector<double> rates(threads);
  std::vector<std::thread> pool;
  std::atomic<int> ready{0};
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      ++ready;
      while (ready < threads)
        std::this_thread::yield();
      rates[t] = work(t);
    });
  double sum = 0;
  for (int t = 0; t < threads; ++t) {
    pool[t].join();
    sum += rates[t];
  }
  return sum;
}

} // namespace

int main(int argc, char **argv) {
  int threads = argc > 1 ? std::atoi(argv[1]) : int(std::thread::hardware_concurrency());
  if (threads < 1) {
    std::fprintf(stderr, "probe: expected a positive number of threads\n");
    return 1;
  }
  constexpr size_t kSize = size_t(256) << 20;
  std::vector<char *> buffers(threads);
  onAll(threads, [&](int t) { // each thread touches its own pages first
    buffers[t] = static_cast<char *>(std::aligned_alloc(size_t(2) << 20, kSize));
    if (buffers[t])
      std::memset(buffers[t], t + 1, kSize);
    return 0.0;
  });
  for (char *buffer : buffers)
    if (!buffer) {
      std::fprintf(stderr, "probe: no memory for %zu bytes a thread\n", kSize);
      return 1;
    }
  onAll(threads, [](int) { return multiplyAddRate(0.05); }); // wakes the clocks
  double fma = onAll(threads, [](int) { return multiplyAddRate(0.2); });
  double read = onAll(threads, [&](int t) { return readRate(buffers[t], kSize, 0.3); });
  std::printf("{\"isa\": \"%s\", \"threads\": %d, \"f32_gflops\": %.1f, \"read_gb_per_s\": %.2f}\n", kIsa, threads, fma,
              read);
  for (char *buffer : buffers)
    std::free(buffer);
}
