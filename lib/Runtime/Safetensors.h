// The .safetensors format: named tensors in one file.
#ifndef MOE_LIB_RUNTIME_SAFETENSORS_H
#define MOE_LIB_RUNTIME_SAFETENSORS_H

#include "Files.h"
#include "Tensors.h"

#include <string>
#include <vector>

namespace moe::runtime {

/// A file whose header was read and found sound. Tensors are read one by one.
class SafetensorsReader {
public:
  explicit SafetensorsReader(const std::string &path);

  /// Names in the order of the header.
  std::vector<std::string> names() const;

  /// Reads the tensor of this name; throws Error if there is none.
  Tensor read(const std::string &name) const;

private:
  struct Entry {
    std::string name;
    moe_tensor shape{}; ///< element type and shape only
    uint64_t begin = 0, end = 0;
  };
  friend class HeaderHandler;

  void parse(const std::string &header, uint64_t dataSize);

  InputFile file;
  uint64_t dataStart = 0;
  std::vector<Entry> entries;
};

/// Writes named tensors as one file.
void writeSafetensors(OutputFile &file, const std::vector<Tensor> &tensors);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_SAFETENSORS_H
