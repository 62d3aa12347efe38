// Calls of functions: checks the caller's tensors against what the function
// takes, lays out its arguments, and hands back its results.
#include "Call.h"
#include "Tensors.h"

#include <algorithm>
#include <cstring>
#include <map>

using namespace moe::runtime;

void moe::runtime::describe(moe_descriptor &descriptor, void *data,
                            const int64_t *shape, size_t rank) {
  descriptor = {};
  descriptor.allocated = descriptor.aligned = data;
  int64_t stride = 1;
  for (size_t i = rank; i-- > 0;) {
    descriptor.sizes_and_strides[i] = shape[i];
    descriptor.sizes_and_strides[rank + i] = stride;
    stride *= shape[i] > 0 ? shape[i] : 1;
  }
}

void moe::runtime::prepare(moe_session &session,
                           const moe_function_info &function) {
  session.workspace.release(0);
  size_t count = size_t(function.num_inputs) + function.num_outputs;
  session.descriptors.resize(count);
  session.scalars.resize(count);
  session.arguments.resize(count);
  for (size_t i = 0; i < count; ++i)
    session.arguments[i] = &session.descriptors[i];
}

void moe::runtime::passIndex(moe_session &session, size_t argument,
                             int64_t value) {
  session.scalars[argument] = value;
  session.arguments[argument] = &session.scalars[argument];
}

void moe::runtime::passParameters(moe_session &session, size_t argument) {
  const Weights &weights = session.model->weights;
  int64_t size = static_cast<int64_t>(weights.size());
  describe(session.descriptors[argument],
           session.device ? session.device->weights() : weights.data(), &size,
           1);
}

void *moe::runtime::pass(moe_session &session, const void *data, size_t bytes) {
  if (!session.device)
    return const_cast<void *>(data);
  void *copy = session.workspace.allocate(bytes, inputAlignment);
  if (!copy)
    fail(MOE_OUT_OF_MEMORY,
         "no device memory for an input of " + bytesText(bytes));
  session.stream->copyIn(copy, data, bytes);
  return copy;
}

void moe::runtime::finish(moe_session &session,
                          const moe_function_info &function) {
  if (!session.device)
    return;
  session.stream->synchronize();
  session.stream->check(function.name);
}

static bool isContiguous(const moe_descriptor &descriptor, size_t rank) {
  int64_t stride = 1;
  for (size_t i = rank; i-- > 0;) {
    int64_t size = descriptor.sizes_and_strides[i];
    if (size == 0)
      return true;
    if (size != 1 && descriptor.sizes_and_strides[rank + i] != stride)
      return false;
    stride *= size;
  }
  return true;
}

/// Copies elements from `from`, where the descriptor's offset points.
static void copyStrided(const moe_descriptor &descriptor, size_t rank,
                        size_t size, int64_t count, const char *from,
                        char *to) {
  int64_t index[MOE_MAX_RANK] = {};
  for (int64_t element = 0; element < count; ++element, to += size) {
    int64_t offset = 0;
    for (size_t i = 0; i < rank; ++i)
      offset += index[i] * descriptor.sizes_and_strides[rank + i];
    std::memcpy(to, from + offset * static_cast<int64_t>(size), size);
    for (size_t i = rank; i-- > 0;) {
      if (++index[i] < descriptor.sizes_and_strides[i])
        break;
      index[i] = 0;
    }
  }
}

/// A copy of all that lies between a tensor's first and last element.
static std::vector<char> copySpan(moe_session &session,
                                  const moe_descriptor &descriptor, size_t rank,
                                  size_t size, const char *from,
                                  size_t &start) {
  int64_t low = 0, high = 0;
  for (size_t i = 0; i < rank; ++i) {
    int64_t reach = (descriptor.sizes_and_strides[i] - 1) *
                    descriptor.sizes_and_strides[rank + i];
    (reach < 0 ? low : high) += reach;
  }
  std::vector<char> span(static_cast<size_t>(high - low + 1) * size);
  start = static_cast<size_t>(-low) * size;
  session.stream->copyOut(span.data(), from - start, span.size());
  return span;
}

void moe::runtime::copyOut(moe_session &session,
                           const moe_descriptor &descriptor, size_t rank,
                           size_t size, int64_t count, void *out) {
  if (!count)
    return;
  const char *from = static_cast<const char *>(descriptor.aligned) +
                     descriptor.offset * static_cast<int64_t>(size);
  char *to = static_cast<char *>(out);
  bool contiguous = isContiguous(descriptor, rank);
  if (contiguous && session.device) {
    session.stream->copyOut(to, from, static_cast<size_t>(count) * size);
  } else if (contiguous) {
    std::memcpy(to, from, static_cast<size_t>(count) * size);
  } else if (session.device) {
    size_t start = 0;
    std::vector<char> span =
        copySpan(session, descriptor, rank, size, from, start);
    copyStrided(descriptor, rank, size, count, span.data() + start, to);
  } else {
    copyStrided(descriptor, rank, size, count, from, to);
  }
}

/// Whether the caller gives or receives this value.
static bool isData(const moe_value_info &value) {
  return value.role == MOE_ROLE_DATA;
}

static size_t countData(const moe_value_info *values, uint32_t count) {
  size_t result = 0;
  for (uint32_t i = 0; i < count; ++i)
    result += isData(values[i]);
  return result;
}

static void checkInput(const moe_value_info &value, const std::string &what,
                       const moe_tensor &tensor) {
  if (tensor.element_type != value.element_type)
    fail(MOE_INVALID_ARGUMENT,
         what + ": got " + elementTypeName(tensor.element_type) +
             " elements, expected " + elementTypeName(value.element_type) +
             " (nothing is converted)");
  if (tensor.rank != value.rank)
    fail(MOE_INVALID_ARGUMENT,
         what +
             format(": got rank %u, expected rank %u, shape ", tensor.rank,
                    value.rank) +
             shapeText(value.shape, value.rank));
  for (uint32_t i = 0; i < value.rank; ++i)
    if (tensor.shape[i] < 0 ||
        (value.shape[i] > MOE_DYNAMIC && value.shape[i] != tensor.shape[i]))
      fail(MOE_INVALID_ARGUMENT,
           what + ": got shape " + shapeText(tensor.shape, tensor.rank) +
               ", expected " + shapeText(value.shape, value.rank));
  int64_t bytes = countBytes(tensor.element_type, tensor.shape, tensor.rank);
  if (bytes < 0 || (bytes && !tensor.data))
    fail(MOE_INVALID_ARGUMENT, what + ": its data is null or its size absurd");
  if (reinterpret_cast<uintptr_t>(tensor.data) %
      elementType(tensor.element_type)->size)
    fail(MOE_INVALID_ARGUMENT,
         what + ": its data is not aligned to its element size");
}

/// A device program has planned its memory for so many rows.
static void checkRows(const Device &device, const moe_value_info &value,
                      const std::string &what, const moe_tensor &tensor) {
  int64_t most = device.program.max_tokens;
  if (value.rank && value.shape[0] <= MOE_DYNAMIC && tensor.shape[0] > most)
    fail(MOE_INVALID_ARGUMENT,
         what + format(": got %lld rows, the program was compiled for at most "
                       "%lld at once; call it for fewer, or compile it with "
                       "another --max-tokens",
                       static_cast<long long>(tensor.shape[0]),
                       static_cast<long long>(most)));
}

/// Extents that the program takes to be equal, `inputs` being the data inputs.
static void checkEqualExtents(const moe_function_info &function,
                              const moe_tensor *inputs) {
  struct First {
    const moe_value_info *value;
    uint32_t index;
    int64_t extent;
  };
  std::map<int64_t, First> first;
  for (uint32_t i = 0; i < function.num_inputs; ++i) {
    const moe_value_info &value = function.inputs[i];
    if (!isData(value))
      continue;
    const moe_tensor &tensor = *inputs++;
    for (uint32_t d = 0; d < value.rank; ++d) {
      if (value.shape[d] >= MOE_DYNAMIC)
        continue;
      First own{&value, i, tensor.shape[d]};
      const First &other = first.try_emplace(value.shape[d], own).first->second;
      if (other.extent != own.extent)
        fail(MOE_INVALID_ARGUMENT,
             "input " + quote(valueName(value, i)) + " of " +
                 quote(function.name) + ": got shape " +
                 shapeText(tensor.shape, tensor.rank) +
                 format(", expected %lld where it has %lld, as input ",
                        static_cast<long long>(other.extent),
                        static_cast<long long>(own.extent)) +
                 quote(valueName(*other.value, other.index)) + " has");
    }
  }
}

void moe::runtime::passInputs(moe_session &session,
                              const moe_function_info &function,
                              const moe_tensor *inputs) {
  const moe_tensor *input = inputs;
  for (uint32_t i = 0; i < function.num_inputs; ++i) {
    const moe_value_info &value = function.inputs[i];
    if (value.role == MOE_ROLE_PARAMETERS) {
      passParameters(session, i);
      continue;
    }
    if (!isData(value))
      fail(MOE_INVALID_ARGUMENT,
           "function " + quote(function.name) +
               " has the state of a language model: use moe_session_forward, "
               "or --tokens");
    const moe_tensor &tensor = *input++;
    std::string what =
        "input " + quote(valueName(value, i)) + " of " + quote(function.name);
    checkInput(value, what, tensor);
    if (session.device)
      checkRows(*session.device, value, what, tensor);
    if (value.is_index)
      passIndex(session, i, *static_cast<const int64_t *>(tensor.data));
    else
      describe(session.descriptors[i],
               pass(session, tensor.data,
                    static_cast<size_t>(countBytes(
                        tensor.element_type, tensor.shape, tensor.rank))),
               tensor.shape, tensor.rank);
  }
  checkEqualExtents(function, inputs);
}

/// Hands one result to the caller.
static void giveOutput(moe_session &session, const moe_value_info &value,
                       const std::string &what,
                       const moe_descriptor &descriptor, size_t index,
                       moe_tensor &output) {
  moe_tensor result{};
  result.element_type = value.element_type;
  result.rank = value.rank;
  for (uint32_t i = 0; i < value.rank; ++i)
    result.shape[i] = descriptor.sizes_and_strides[i];
  int64_t count = countElements(result.shape, result.rank);
  size_t size = elementType(value.element_type)->size;
  if (count < 0)
    fail(MOE_INTERNAL_ERROR, what + ": the program gave an impossible shape");
  if (output.data) {
    bool equal = output.element_type == result.element_type &&
                 output.rank == result.rank;
    for (uint32_t i = 0; equal && i < result.rank; ++i)
      equal = output.shape[i] == result.shape[i];
    if (!equal)
      fail(MOE_INVALID_ARGUMENT,
           what + ": the result is " + elementTypeName(result.element_type) +
               " " + shapeText(result.shape, result.rank) +
               ", which the given memory is not described as");
    copyOut(session, descriptor, value.rank, size, count, output.data);
    return;
  }
  if (!session.device && isContiguous(descriptor, value.rank)) {
    result.data = static_cast<char *>(descriptor.aligned) +
                  descriptor.offset * static_cast<int64_t>(size);
  } else {
    std::vector<char> &copy = session.copies[index];
    copy.resize(static_cast<size_t>(count) * size);
    copyOut(session, descriptor, value.rank, size, count, copy.data());
    result.data = copy.data();
  }
  output = result;
}

void moe::runtime::giveOutputs(moe_session &session,
                               const moe_function_info &function,
                               moe_tensor *outputs) {
  if (session.copies.size() < function.num_outputs)
    session.copies.resize(function.num_outputs);
  for (uint32_t i = 0; i < function.num_outputs; ++i)
    if (isData(function.outputs[i]))
      giveOutput(session, function.outputs[i],
                 "output " + quote(valueName(function.outputs[i], i)) + " of " +
                     quote(function.name),
                 session.descriptors[function.num_inputs + i], i, *outputs++);
  finish(session, function);
}

const moe_function_info &moe::runtime::requireFunction(
    const moe_session &session, const char *function, const moe_tensor *inputs,
    size_t numInputs, const moe_tensor *outputs, size_t numOutputs) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info *found =
      function ? findFunction(program, function) : nullptr;
  if (!found)
    fail(MOE_INVALID_ARGUMENT,
         "no function " + quote(function ? function : "(null)"));
  size_t wantedInputs = countData(found->inputs, found->num_inputs);
  size_t wantedOutputs = countData(found->outputs, found->num_outputs);
  if (numInputs != wantedInputs || numOutputs != wantedOutputs)
    fail(MOE_INVALID_ARGUMENT,
         format("'%s' got %zu inputs and %zu outputs, expected %zu and %zu",
                found->name, numInputs, numOutputs, wantedInputs,
                wantedOutputs));
  if ((numInputs && !inputs) || (numOutputs && !outputs))
    fail(MOE_INVALID_ARGUMENT, "inputs or outputs are null");
  return *found;
}

moe_status moe_session_call(moe_session *session, const char *function,
                            const moe_tensor *inputs, size_t num_inputs,
                            moe_tensor *outputs, size_t num_outputs) {
  return call(session, [&] {
    const moe_function_info &found = requireFunction(
        *session, function, inputs, num_inputs, outputs, num_outputs);
    prepare(*session, found);
    passInputs(*session, found, inputs);
    enter(*session, found);
    finish(*session, found);
    giveOutputs(*session, found, outputs);
  });
}
