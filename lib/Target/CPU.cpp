//===- CPU.cpp - Facts about the CPU compiled for -------------------------===//
//
// Names, features, register widths and cache sizes of x86-64 CPUs, from LLVM's tables or from this machine.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/CPU.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;

/// What kernels may use. Features that change no arithmetic or addressing are left out: a program should not refuse a
/// machine for lack of, say, random numbers.
static constexpr StringLiteral kUsefulFeatures[] = {
    "sse3",      "ssse3",    "sse4.1",   "sse4.2",     "cx16",        "popcnt",        "sahf",       "movbe",
    "avx",       "avx2",     "fma",      "f16c",       "bmi",         "bmi2",          "lzcnt",      "avx512f",
    "avx512vl",  "avx512bw", "avx512dq", "avx512cd",   "avx512vbmi",  "avx512vbmi2",   "avx512ifma", "avx512bitalg",
    "avx512vpopcntdq", "avx512vnni", "avx512bf16", "avx512fp16", "avxvnni", "avxvnniint8", "avxifma", "avxneconvert",
    "amx-tile",  "amx-int8", "amx-bf16"};

static llvm::StringSet<> getHostFeatures() {
  llvm::StringSet<> features;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    if (feature.second)
      features.insert(feature.first());
  return features;
}

static llvm::StringSet<> getKnownFeatures(StringRef cpu) {
  SmallVector<StringRef> names;
  llvm::X86::getFeaturesForCPU(cpu, names);
  // The table names only what others do not imply: AVX-512BW, and with it AVX-512F.
  llvm::StringMap<bool> implied;
  for (StringRef name : names) {
    implied[name] = true;
    llvm::X86::updateImpliedFeatures(name, /*Enabled=*/true, implied);
  }
  llvm::StringSet<> features;
  for (const auto &feature : implied)
    if (feature.second)
      features.insert(feature.first());
  return features;
}

/// ", did you mean 'znver4'?", or what to give where no name is near.
static std::string suggest(StringRef cpu) {
  SmallVector<StringRef> known;
  llvm::X86::fillValidCPUArchList(known, /*Only64Bit=*/true);
  known.push_back("native");
  StringRef best;
  unsigned bestDistance = 3;
  for (StringRef name : known) {
    unsigned distance = cpu.edit_distance(name, /*AllowReplacements=*/true, bestDistance);
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  if (!best.empty())
    return (", did you mean '" + best + "'?").str();
  return ", expected 'native' or an x86-64 CPU that LLVM knows, for example x86-64-v3, x86-64-v4 or znver4";
}

static int64_t getCacheBytes(int name, int64_t fallback) {
  long bytes = sysconf(name);
  return bytes > 0 ? bytes : fallback;
}

llvm::Expected<CPUTargetAttr> moe::resolveCPUTarget(MLIRContext *context, StringRef name) {
  // What practically every CPU with AVX2 has at least.
  int64_t l1Bytes = 32 * 1024, l2Bytes = 256 * 1024;
  std::string cpu = name.str();
  llvm::StringSet<> features;
  if (name == "native") {
    cpu = llvm::sys::getHostCPUName().str();
    features = getHostFeatures();
    l1Bytes = getCacheBytes(_SC_LEVEL1_DCACHE_SIZE, l1Bytes);
    l2Bytes = getCacheBytes(_SC_LEVEL2_CACHE_SIZE, l2Bytes);
  } else {
    if (llvm::X86::parseArchX86(name, /*Only64Bit=*/true) == llvm::X86::CK_None)
      return llvm::createStringError("unknown CPU '" + name.take_front(80) + "'" + suggest(name));
    features = getKnownFeatures(name);
  }
  SmallVector<StringRef> missing;
  for (StringRef needed : {"avx2", "fma"})
    if (!features.contains(needed))
      missing.push_back(needed);
  if (!missing.empty())
    return llvm::createStringError("CPU '" + cpu + "' lacks " + llvm::join(missing, " and ") +
                                   ", expected at least x86-64-v3 (--cpu=x86-64-v3)");
  bool wide = llvm::all_of(ArrayRef<StringRef>{"avx512f", "avx512vl", "avx512bw", "avx512dq"},
                           [&](StringRef feature) { return features.contains(feature); });
  std::string text;
  for (StringRef feature : kUsefulFeatures)
    if (features.contains(feature) && (wide || !feature.starts_with("avx512")))
      text += (text.empty() ? "+" : ",+") + feature.str();
  return CPUTargetAttr::get(context, cpu, text, wide ? 512 : 256, l1Bytes, l2Bytes);
}
