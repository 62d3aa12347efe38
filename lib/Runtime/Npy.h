// The .npy format of NumPy: one tensor a file.
#ifndef MOE_LIB_RUNTIME_NPY_H
#define MOE_LIB_RUNTIME_NPY_H

#include "Tensors.h"

#include <string>

namespace moe::runtime {

class OutputFile;

/// Reads a tensor; throws Error on anything that is not a valid, whole .npy
/// file of an element type that exists here.
Tensor readNpy(const std::string &path);

/// Writes the header of a tensor whose bytes follow. `what` names it in the
/// error for element types that .npy does not have.
void writeNpyHeader(OutputFile &file, const moe_tensor &shape,
                    const std::string &what);

/// Writes a whole tensor.
void writeNpy(OutputFile &file, const moe_tensor &tensor,
              const std::string &what);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_NPY_H
