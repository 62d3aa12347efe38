// Asks CPUID for the features a program needs, and the operating system, by
// XGETBV, for the registers they use. Compiled for plain x86-64.
#include "CpuFeatures.h"

#include "Error.h"

#include <cpuid.h>

using namespace moe::runtime;

namespace {
enum Register { EAX, EBX, ECX, EDX };

/// State the operating system must save for a feature to work: bits of XCR0.
enum State : unsigned {
  None = 0,
  YMM = 0x6,
  ZMM = 0xe6,
  Tile = 0x60000,
  APX = 0x80000,
};

struct Feature {
  const char *name; ///< LLVM's
  unsigned leaf, subleaf;
  Register where;
  unsigned bit;
  State state;
};
} // namespace

/// The features a compiler uses of its own accord. Those that only intrinsics
/// reach (AES, TSX, XSAVE ...) are left out: virtual machines like to hide
/// them, and programs here never use them.
static const Feature table[] = {
    {"sse3", 1, 0, ECX, 0, None},
    {"ssse3", 1, 0, ECX, 9, None},
    {"fma", 1, 0, ECX, 12, YMM},
    {"cx16", 1, 0, ECX, 13, None},
    {"sse4.1", 1, 0, ECX, 19, None},
    {"sse4.2", 1, 0, ECX, 20, None},
    {"movbe", 1, 0, ECX, 22, None},
    {"popcnt", 1, 0, ECX, 23, None},
    {"avx", 1, 0, ECX, 28, YMM},
    {"f16c", 1, 0, ECX, 29, YMM},
    {"cx8", 1, 0, EDX, 8, None},
    {"cmov", 1, 0, EDX, 15, None},
    {"mmx", 1, 0, EDX, 23, None},
    {"sse", 1, 0, EDX, 25, None},
    {"sse2", 1, 0, EDX, 26, None},
    {"bmi", 7, 0, EBX, 3, None},
    {"avx2", 7, 0, EBX, 5, YMM},
    {"bmi2", 7, 0, EBX, 8, None},
    {"avx512f", 7, 0, EBX, 16, ZMM},
    {"avx512dq", 7, 0, EBX, 17, ZMM},
    {"avx512ifma", 7, 0, EBX, 21, ZMM},
    {"avx512cd", 7, 0, EBX, 28, ZMM},
    {"avx512bw", 7, 0, EBX, 30, ZMM},
    {"avx512vl", 7, 0, EBX, 31, ZMM},
    {"avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"avx512vbmi2", 7, 0, ECX, 6, ZMM},
    {"gfni", 7, 0, ECX, 8, None},
    {"avx512vnni", 7, 0, ECX, 11, ZMM},
    {"avx512bitalg", 7, 0, ECX, 12, ZMM},
    {"avx512vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"avx512vp2intersect", 7, 0, EDX, 8, ZMM},
    {"amx-bf16", 7, 0, EDX, 22, Tile},
    {"avx512fp16", 7, 0, EDX, 23, ZMM},
    {"amx-tile", 7, 0, EDX, 24, Tile},
    {"amx-int8", 7, 0, EDX, 25, Tile},
    {"avxvnni", 7, 1, EAX, 4, YMM},
    {"avx512bf16", 7, 1, EAX, 5, ZMM},
    {"cmpccxadd", 7, 1, EAX, 7, None},
    {"amx-fp16", 7, 1, EAX, 21, Tile},
    {"avxifma", 7, 1, EAX, 23, YMM},
    {"avxvnniint8", 7, 1, EDX, 4, YMM},
    {"avxneconvert", 7, 1, EDX, 5, YMM},
    {"amx-complex", 7, 1, EDX, 8, Tile},
    {"avxvnniint16", 7, 1, EDX, 10, YMM},
    {"avx10.1", 7, 1, EDX, 19, ZMM},
    {"avx10.2", 7, 1, EDX, 19, ZMM},
    {"egpr", 7, 1, EDX, 21, APX},
    {"push2pop2", 7, 1, EDX, 21, APX},
    {"ppx", 7, 1, EDX, 21, APX},
    {"ndd", 7, 1, EDX, 21, APX},
    {"ccmp", 7, 1, EDX, 21, APX},
    {"nf", 7, 1, EDX, 21, APX},
    {"cf", 7, 1, EDX, 21, APX},
    {"zu", 7, 1, EDX, 21, APX},
    {"sahf", 0x80000001u, 0, ECX, 0, None},
    {"lzcnt", 0x80000001u, 0, ECX, 5, None},
    {"prfchw", 0x80000001u, 0, ECX, 8, None},
    {"xop", 0x80000001u, 0, ECX, 11, YMM},
    {"fma4", 0x80000001u, 0, ECX, 16, YMM},
    {"tbm", 0x80000001u, 0, ECX, 21, None},
    {"64bit", 0x80000001u, 0, EDX, 29, None},
};

/// The bits of XCR0, 0 where the system offers no XGETBV.
static unsigned long long enabledState() {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1))
    return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<unsigned long long>(high) << 32 | low;
}

static bool has(const Feature &feature, unsigned long long state) {
  unsigned r[4];
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &r[EAX], &r[EBX],
                         &r[ECX], &r[EDX]))
    return false;
  // Leaf 7 tells in EAX of subleaf 0 how many subleaves mean anything.
  if (feature.leaf == 7 && feature.subleaf > 0) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < feature.subleaf)
      return false;
  }
  return (r[feature.where] >> feature.bit & 1) &&
         (state & feature.state) == feature.state;
}

std::vector<std::string>
moe::runtime::missingFeatures(const std::string &features) {
  std::vector<std::string> missing;
  unsigned long long state = enabledState();
  for (size_t start = 0; start < features.size();) {
    size_t end = features.find(',', start);
    if (end == std::string::npos)
      end = features.size();
    std::string name = features.substr(start, end - start);
    start = end + 1;
    if (!name.empty() && name[0] == '+')
      name.erase(0, 1);
    for (const Feature &feature : table)
      if (name == feature.name && !has(feature, state))
        missing.push_back(name);
  }
  return missing;
}

void moe::runtime::checkCpu(const std::string &cpu,
                            const std::string &features) {
  std::vector<std::string> missing = missingFeatures(features);
  if (missing.empty())
    return;
  fail(MOE_UNSUPPORTED_CPU,
       "this CPU lacks " + listText(missing) +
           ", which the program was compiled for (--cpu=" + cpu +
           "); compile it with --cpu=x86-64-v3 or for this CPU");
}
