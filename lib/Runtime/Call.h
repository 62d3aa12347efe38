// What calls of functions have in common: one at a time, arguments laid out as
// generated code takes them, results copied to where they are wanted.
#ifndef MOE_LIB_RUNTIME_CALL_H
#define MOE_LIB_RUNTIME_CALL_H

#include "Error.h"
#include "Model.h"

namespace moe::runtime {

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

/// Runs `body` as the one call of the session, its errors in the message.
template <typename Body> moe_status call(moe_session *session, Body body) {
  if (!session)
    return MOE_INVALID_ARGUMENT;
  std::string message;
  moe_status status = guard(message, [&] {
    Busy busy(*session);
    Device::Current current(session->device);
    if (session->device) {
      session->device->requireUsable();
      session->stream->beginCall();
    }
    body();
  });
  // The message belongs to the running call when there is one.
  if (status != MOE_BUSY)
    session->message.swap(message);
  return status;
}

/// Ends the results of the previous call and sizes the scratch of the next;
/// nothing is allocated once it was large enough.
void prepare(moe_session &session, const moe_function_info &function);

void passIndex(moe_session &session, size_t argument, int64_t value);
void passParameters(moe_session &session, size_t argument);

/// Of copies of inputs on a device.
constexpr size_t inputAlignment = 256;

/// Where generated code reads these bytes: a copy on the device, or themselves.
void *pass(moe_session &session, const void *data, size_t bytes);

/// Copies a result of any strides to contiguous memory of the host.
void copyOut(moe_session &session, const moe_descriptor &descriptor,
             size_t rank, size_t size, int64_t count, void *out);

/// Waits for the device; throws if it failed in this call.
void finish(moe_session &session, const moe_function_info &function);

/// The function of this name, if a caller can give it so many tensors.
const moe_function_info &
requireFunction(const moe_session &session, const char *function,
                const moe_tensor *inputs, size_t numInputs,
                const moe_tensor *outputs, size_t numOutputs);

/// Lays out the caller's tensors and the parameters.
void passInputs(moe_session &session, const moe_function_info &function,
                const moe_tensor *inputs);

/// Hands the results to the caller.
void giveOutputs(moe_session &session, const moe_function_info &function,
                 moe_tensor *outputs);

// --- Language models -----------------------------------------------------

/// Throws if the program is something else.
void requireLanguageModel(const moe_session &session);

/// The vectors of the tokens of one call, as generated code reads them.
struct TokenVectors {
  void *tokens, *positions, *sequences;
  void *stop; ///< of a decode step
  int64_t count;
};

/// The work space that "forward" takes for as many tokens as are computed at
/// once, with the logits of the last; the least there is if the program is
/// something else. Runs the host code of a device program: it looks at no
/// tensor, and launches nothing meanwhile.
uint64_t measureForward(moe_session &session);

/// Arguments of a function that takes the state of a language model.
void passState(moe_session &session, const moe_function_info &function,
               const TokenVectors &vectors, int64_t firstRow);

/// Checks the tokens of a call, fills in positions and sequences that the
/// caller left out, and leaves the lengths after the call in `newLengths`.
void placeTokens(moe_session &session, const int32_t *tokens,
                 const int32_t *positions, const int32_t *sequences,
                 int64_t count);

/// From here on the caches may hold the tokens of this call, also if it fails,
/// in place of what it was told to replace.
void beginWriting(moe_session &session, int64_t count);

/// The call has succeeded: sequences have their new lengths.
void endWriting(moe_session &session);

/// Runs tokens `start` to `start + count`; their logits from row `firstRow` on
/// go to `logits`.
void forwardPiece(moe_session &session, const int32_t *tokens, int64_t start,
                  int64_t count, int64_t firstRow, float *logits);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_CALL_H
