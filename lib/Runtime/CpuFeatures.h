// Whether this CPU has what a program was compiled for.
#ifndef MOE_LIB_RUNTIME_CPUFEATURES_H
#define MOE_LIB_RUNTIME_CPUFEATURES_H

#include <string>
#include <vector>

namespace moe::runtime {

/// Those of the comma separated features (LLVM's names, a leading '+' allowed)
/// that this CPU or its operating system lacks. Names that stand for nothing
/// that compiled code contains, such as tuning flags, are passed over.
std::vector<std::string> missingFeatures(const std::string &features);

/// Throws Error (MOE_UNSUPPORTED_CPU) if any is missing. `cpu` is the name of
/// the CPU compiled for.
void checkCpu(const std::string &cpu, const std::string &features);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_CPUFEATURES_H
