// Calls of a language model: where each token stands, what it may see, and the
// pieces that a call is cut into.
#include "Call.h"
#include "Tensors.h"

#include <algorithm>

using namespace moe::runtime;

void moe::runtime::placeTokens(moe_session &session, const int32_t *tokens,
                               const int32_t *positions,
                               const int32_t *sequences, int64_t count) {
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

void moe::runtime::passState(moe_session &session,
                             const moe_function_info &function,
                             const TokenVectors &vectors, int64_t firstRow) {
  size_t cache = 0;
  auto vector = [&](size_t argument, void *data) {
    describe(session.descriptors[argument], data, &vectors.count, 1);
  };
  for (uint32_t i = 0; i < function.num_inputs; ++i) {
    switch (function.inputs[i].role) {
    case MOE_ROLE_TOKENS:
      vector(i, vectors.tokens);
      break;
    case MOE_ROLE_POSITIONS:
      vector(i, vectors.positions);
      break;
    case MOE_ROLE_SEQUENCES:
      vector(i, vectors.sequences);
      break;
    case MOE_ROLE_STOP:
      vector(i, vectors.stop);
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
      fail(MOE_INTERNAL_ERROR, quote(function.name) + " takes " +
                                   quote(valueName(function.inputs[i], i)) +
                                   ", which is no part of a language model");
    }
  }
}

void moe::runtime::beginWriting(moe_session &session, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t position = session.positions[i];
    int64_t &length = session.lengths[session.sequenceIds[i]],
            &written = session.written[session.sequenceIds[i]];
    length = std::min(length, position);
    written = position ? std::max(written, position + 1) : 1;
  }
}

void moe::runtime::endWriting(moe_session &session) {
  for (int64_t i = 0; i < session.sequences; ++i)
    if (session.newLengths[i] >= 0)
      session.lengths[i] = session.newLengths[i];
}

void moe::runtime::forwardPiece(moe_session &session, const int32_t *tokens,
                                int64_t start, int64_t count, int64_t firstRow,
                                float *logits) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info &forward = *findFunction(program, "forward");
  prepare(session, forward);
  size_t bytes = static_cast<size_t>(count) * sizeof(int32_t);
  passState(session, forward,
            {pass(session, tokens + start, bytes),
             pass(session, session.positions.data() + start, bytes),
             pass(session, session.sequenceIds.data() + start, bytes), nullptr,
             count},
            firstRow);
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
    copyOut(session, result, 2, sizeof(float), rows * program.vocabulary,
            logits);
  }
}

uint64_t moe::runtime::measureForward(moe_session &session) {
  const moe_program_info &program = *session.model->program;
  if (!program.is_language_model)
    return Workspace::firstChunk;
  const moe_function_info &forward = *findFunction(program, "forward");
  int64_t count =
      std::min(session.piece, session.context * session.sequences);
  Workspace &workspace = session.workspace;
  workspace.beginMeasuring();
  prepare(session, forward);
  auto vector = [&] {
    return workspace.allocate(static_cast<size_t>(count) * sizeof(int32_t),
                              inputAlignment);
  };
  passState(session, forward, {vector(), vector(), vector(), nullptr, count},
            count - 1);
  enter(session, forward);
  session.profile.clear();
  return workspace.endMeasuring();
}

void moe::runtime::requireLanguageModel(const moe_session &session) {
  if (!session.model->program->is_language_model)
    fail(MOE_INVALID_ARGUMENT,
         "the program is not a language model; call one of its functions");
}

moe_status moe_session_forward(moe_session *session, const int32_t *tokens,
                               const int32_t *positions,
                               const int32_t *sequences, int64_t num_tokens,
                               int64_t first_row, float *logits,
                               int64_t capacity) {
  return call(session, [&] {
    const moe_program_info &program = *session->model->program;
    requireLanguageModel(*session);
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
    finish(*session, *findFunction(program, "forward"));
    endWriting(*session);
  });
}
