// Finds, checks and maps the weights file of a program.
#ifndef MOE_LIB_RUNTIME_WEIGHTS_H
#define MOE_LIB_RUNTIME_WEIGHTS_H

#include "moe/Runtime/Runtime.h"

#include <string>

namespace moe::runtime {

/// Path of the weights file when none is named: beside the executable or the
/// shared library that holds `program`.
std::string findWeights(const moe_program_info &program);

/// A read-only mapping of a whole, checked weights file.
class Weights {
public:
  Weights() = default;
  ~Weights();
  Weights(const Weights &) = delete;
  Weights &operator=(const Weights &) = delete;

  /// Maps the file after its header was compared with the program. Throws
  /// Error with one line that says what does not fit.
  void open(const std::string &path, const moe_program_info &program);

  /// Compares all bytes with the checksum in the header.
  void verify(moe_progress progress, void *user) const;

  const std::string &path() const { return name; }
  void *data() const { return memory; }
  uint64_t size() const { return bytes; }

private:
  std::string name;
  void *memory = nullptr;
  uint64_t bytes = 0;
};

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_WEIGHTS_H
