// Calls of functions: checks the caller's tensors against what the function
// takes, lays out its arguments, and hands back its results.
#include "Error.h"
#include "Model.h"
#include "Tensors.h"

#include <algorithm>
#include <cstring>

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

namespace {
/// Marks the session as running for the time of a call.
class Busy {
public:
  explicit Busy(moe_session &session) : session(session) {
    if (session.busy.exchange(true))
      fail(MOE_BUSY, "the session runs another call");
  }
  ~Busy() { session.busy = false; }
  Busy(const Busy &) = delete;
  Busy &operator=(const Busy &) = delete;

private:
  moe_session &session;
};
} // namespace

/// Runs `body` as the one call of the session, its errors in the message.
template <typename Body>
static moe_status call(moe_session *session, Body body) {
  if (!session)
    return MOE_INVALID_ARGUMENT;
  std::string message;
  moe_status status = guard(message, [&] {
    Busy busy(*session);
    body();
  });
  // The message belongs to the running call when there is one.
  if (status != MOE_BUSY)
    session->message.swap(message);
  return status;
}

/// Sizes the scratch of a call; nothing is allocated once it was large enough.
static void prepare(moe_session &session, const moe_function_info &function) {
  size_t count = size_t(function.num_inputs) + function.num_outputs;
  session.descriptors.resize(count);
  session.scalars.resize(count);
  session.arguments.resize(count);
  for (size_t i = 0; i < count; ++i)
    session.arguments[i] = &session.descriptors[i];
}

static void passIndex(moe_session &session, size_t argument, int64_t value) {
  session.scalars[argument] = value;
  session.arguments[argument] = &session.scalars[argument];
}

static void passParameters(moe_session &session, size_t argument) {
  int64_t size = static_cast<int64_t>(session.model->weights.size());
  describe(session.descriptors[argument], session.model->weights.data(), &size,
           1);
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

/// Copies a result of any strides to contiguous memory.
static void copyOut(const moe_descriptor &descriptor, size_t rank, size_t size,
                    int64_t count, void *out) {
  const char *from =
      static_cast<const char *>(descriptor.aligned) + descriptor.offset * size;
  if (isContiguous(descriptor, rank)) {
    if (count)
      std::memcpy(out, from, static_cast<size_t>(count) * size);
    return;
  }
  int64_t index[MOE_MAX_RANK] = {};
  char *to = static_cast<char *>(out);
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

// --- Language models -----------------------------------------------------

/// Checks the tokens of a call, fills in positions and sequences that the
/// caller left out, and leaves the lengths after the call in `newLengths`.
static void placeTokens(moe_session &session, const int32_t *tokens,
                        const int32_t *positions, const int32_t *sequences,
                        int64_t count) {
  const moe_program_info &program = *session.model->program;
  session.positions.resize(count);
  session.sequenceIds.resize(count);
  session.newLengths.assign(session.sequences, -1);
  for (int64_t i = 0; i < count; ++i) {
    long long at = i;
    if (tokens[i] < 0 || tokens[i] >= program.vocabulary)
      fail(MOE_INVALID_ARGUMENT,
           format("token %lld is %d, expected an id from 0 to %lld (the "
                  "vocabulary)",
                  at, tokens[i],
                  static_cast<long long>(program.vocabulary - 1)));
    int64_t sequence = sequences ? sequences[i] : 0;
    if (sequence < 0 || sequence >= session.sequences)
      fail(MOE_INVALID_ARGUMENT,
           format("token %lld is of sequence %lld, expected 0 to %lld", at,
                  static_cast<long long>(sequence),
                  static_cast<long long>(session.sequences - 1)));
    int64_t &length = session.newLengths[sequence];
    bool first = length < 0;
    int64_t next = first ? session.lengths[sequence] : length;
    int64_t position = positions ? positions[i] : next;
    if (position < 0 || (first ? position > next : position != next))
      fail(MOE_INVALID_ARGUMENT,
           format("token %lld has position %lld, expected %s%lld: positions of "
                  "a sequence have no gaps",
                  at, static_cast<long long>(position), first ? "0 to " : "",
                  static_cast<long long>(next)));
    if (position >= session.context)
      fail(MOE_INVALID_ARGUMENT,
           format("token %lld has position %lld, the context holds %lld", at,
                  static_cast<long long>(position),
                  static_cast<long long>(session.context)));
    if (first && !keepsWhatIsSeen(session, sequence, position))
      fail(MOE_INVALID_ARGUMENT,
           format("token %lld has position %lld of a sequence that had %lld: "
                  "layers with a window have forgotten what it sees; start "
                  "later, or again at 0",
                  at, static_cast<long long>(position),
                  static_cast<long long>(session.written[sequence])));
    length = position + 1;
    session.sequenceIds[i] = static_cast<int32_t>(sequence);
    session.positions[i] = static_cast<int32_t>(position);
  }
}

/// Arguments for tokens `start` to `start + count` of a call.
static void passForward(moe_session &session, const moe_function_info &forward,
                        const int32_t *tokens, int64_t start, int64_t count,
                        int64_t firstRow) {
  size_t cache = 0;
  auto vector = [&](size_t argument, const int32_t *data) {
    describe(session.descriptors[argument], const_cast<int32_t *>(data), &count,
             1);
  };
  for (uint32_t i = 0; i < forward.num_inputs; ++i) {
    switch (forward.inputs[i].role) {
    case MOE_ROLE_TOKENS:
      vector(i, tokens + start);
      break;
    case MOE_ROLE_POSITIONS:
      vector(i, session.positions.data() + start);
      break;
    case MOE_ROLE_SEQUENCES:
      vector(i, session.sequenceIds.data() + start);
      break;
    case MOE_ROLE_FIRST_ROW:
      passIndex(session, i, firstRow);
      break;
    case MOE_ROLE_PARAMETERS:
      passParameters(session, i);
      break;
    case MOE_ROLE_CACHE:
      session.descriptors[i] = session.caches[cache++].descriptor;
      break;
    default:
      fail(MOE_INTERNAL_ERROR, "'forward' takes " +
                                   quote(valueName(forward.inputs[i], i)) +
                                   ", which is no part of a language model");
    }
  }
}

/// From here on the caches may hold the tokens of this call, also if it fails,
/// in place of what it was told to replace.
static void beginWriting(moe_session &session, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t position = session.positions[i];
    int64_t &length = session.lengths[session.sequenceIds[i]],
            &written = session.written[session.sequenceIds[i]];
    length = std::min(length, position);
    written = position ? std::max(written, position + 1) : 1;
  }
}

/// Runs tokens `start` to `start + count`; their logits from row `firstRow` on
/// go to `logits`.
static void forwardPiece(moe_session &session, const int32_t *tokens,
                         int64_t start, int64_t count, int64_t firstRow,
                         float *logits) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info &forward = *findFunction(program, "forward");
  prepare(session, forward);
  passForward(session, forward, tokens, start, count, firstRow);
  enter(session, forward);
  int64_t rows = count - firstRow;
  for (uint32_t i = 0; i < forward.num_outputs; ++i) {
    if (forward.outputs[i].role != MOE_ROLE_LOGITS)
      continue; // Caches are the session's own memory.
    const moe_descriptor &result = session.descriptors[forward.num_inputs + i];
    if (result.sizes_and_strides[0] != rows ||
        result.sizes_and_strides[1] != program.vocabulary)
      fail(MOE_INTERNAL_ERROR,
           "'forward' gave logits of shape " +
               shapeText(result.sizes_and_strides, 2) + ", expected " +
               format("[%lld, %lld]", static_cast<long long>(rows),
                      static_cast<long long>(program.vocabulary)));
    copyOut(result, 2, sizeof(float), rows * program.vocabulary, logits);
  }
}

moe_status moe_session_forward(moe_session *session, const int32_t *tokens,
                               const int32_t *positions,
                               const int32_t *sequences, int64_t num_tokens,
                               int64_t first_row, float *logits,
                               int64_t capacity) {
  return call(session, [&] {
    const moe_program_info &program = *session->model->program;
    if (!program.is_language_model)
      fail(MOE_INVALID_ARGUMENT,
           "the program is not a language model; call one of its functions");
    if (num_tokens < 1 || num_tokens > INT32_MAX || !tokens)
      fail(MOE_INVALID_ARGUMENT,
           format("got %lld tokens, expected at least one",
                  static_cast<long long>(tokens ? num_tokens : 0)));
    if (first_row < 0 || first_row > num_tokens)
      fail(MOE_INVALID_ARGUMENT, format("first_row is %lld, expected 0 to %lld",
                                        static_cast<long long>(first_row),
                                        static_cast<long long>(num_tokens)));
    int64_t rows = num_tokens - first_row;
    int64_t wanted = rows;
    if (!multiply(wanted, program.vocabulary) || capacity < wanted ||
        (rows && !logits))
      fail(MOE_INVALID_ARGUMENT,
           format("logits have room for %lld floats, expected %lld rows of "
                  "%lld",
                  static_cast<long long>(logits ? capacity : 0),
                  static_cast<long long>(rows),
                  static_cast<long long>(program.vocabulary)));
    placeTokens(*session, tokens, positions, sequences, num_tokens);
    beginWriting(*session, num_tokens);
    for (int64_t start = 0; start < num_tokens; start += session->piece) {
      int64_t count = std::min(session->piece, num_tokens - start);
      int64_t skipped = std::clamp<int64_t>(first_row - start, 0, count);
      forwardPiece(*session, tokens, start, count, skipped, logits);
      logits += (count - skipped) * program.vocabulary;
    }
    for (int64_t i = 0; i < session->sequences; ++i)
      if (session->newLengths[i] >= 0)
        session->lengths[i] = session->newLengths[i];
  });
}

// --- Functions -----------------------------------------------------------

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
        (value.shape[i] != MOE_DYNAMIC && value.shape[i] != tensor.shape[i]))
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

static void passInputs(moe_session &session, const moe_function_info &function,
                       const moe_tensor *inputs) {
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
    const moe_tensor &tensor = *inputs++;
    std::string what =
        "input " + quote(valueName(value, i)) + " of " + quote(function.name);
    checkInput(value, what, tensor);
    if (value.is_index)
      passIndex(session, i, *static_cast<const int64_t *>(tensor.data));
    else
      describe(session.descriptors[i], tensor.data, tensor.shape, tensor.rank);
  }
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
    copyOut(descriptor, value.rank, size, count, output.data);
    return;
  }
  if (isContiguous(descriptor, value.rank)) {
    result.data = static_cast<char *>(descriptor.aligned) +
                  descriptor.offset * static_cast<int64_t>(size);
  } else {
    std::vector<char> &copy = session.copies[index];
    copy.resize(static_cast<size_t>(count) * size);
    copyOut(descriptor, value.rank, size, count, copy.data());
    result.data = copy.data();
  }
  output = result;
}

moe_status moe_session_call(moe_session *session, const char *function,
                            const moe_tensor *inputs, size_t num_inputs,
                            moe_tensor *outputs, size_t num_outputs) {
  return call(session, [&] {
    const moe_program_info &program = *session->model->program;
    const moe_function_info *found =
        function ? findFunction(program, function) : nullptr;
    if (!found)
      fail(MOE_INVALID_ARGUMENT,
           "no function " + quote(function ? function : "(null)"));
    size_t wantedInputs = countData(found->inputs, found->num_inputs);
    size_t wantedOutputs = countData(found->outputs, found->num_outputs);
    if (num_inputs != wantedInputs || num_outputs != wantedOutputs)
      fail(MOE_INVALID_ARGUMENT,
           format("'%s' got %zu inputs and %zu outputs, expected %zu and %zu",
                  found->name, num_inputs, num_outputs, wantedInputs,
                  wantedOutputs));
    if ((num_inputs && !inputs) || (num_outputs && !outputs))
      fail(MOE_INVALID_ARGUMENT, "inputs or outputs are null");
    prepare(*session, *found);
    passInputs(*session, *found, inputs);
    if (session->copies.size() < found->num_outputs)
      session->copies.resize(found->num_outputs);
    enter(*session, *found);
    moe_tensor *output = outputs;
    for (uint32_t i = 0; i < found->num_outputs; ++i)
      if (isData(found->outputs[i]))
        giveOutput(*session, found->outputs[i],
                   "output " + quote(valueName(found->outputs[i], i)) + " of " +
                       quote(found->name),
                   session->descriptors[found->num_inputs + i], i, *output++);
  });
}
