// Greedy decoding: call by call, or, where a device program has a function
// "decode_step", by replaying a graph of it. The steps of a window are queued
// one behind the other, each followed by a copy of its token to the host, which
// looks at them when all are done.
#include "Generate.h"

#include "Call.h"

#include <algorithm>
#include <cmath>

using namespace moe::runtime;

[[noreturn]] static void failWithoutToken() {
  fail(MOE_INVALID_ARGUMENT,
       "every logit is NaN, so that there is no next token: the weights hold "
       "values that are not finite, or too large");
}

int32_t moe::runtime::argmax(const float *logits, int64_t count) {
  int64_t best = count;
  for (int64_t i = 0; i < count; ++i)
    if (!std::isnan(logits[i]) && (best == count || logits[i] > logits[best]))
      best = i;
  if (best == count)
    failWithoutToken();
  return static_cast<int32_t>(best);
}

bool moe::runtime::isEos(const moe_program_info &program, int32_t id) {
  const int32_t *end = program.eos + program.num_eos;
  return std::find(program.eos, end, id) != end;
}

// --- By graph ------------------------------------------------------------

DecodeGraph::DecodeGraph(moe_session &session)
    : session(session),
      function(*findFunction(*session.model->program, "decode_step")) {
  exchange =
      static_cast<Exchange *>(session.stream->allocateHost(sizeof(Exchange)));
  state = static_cast<State *>(session.device->allocate(sizeof(State)));
  if (!state) {
    session.stream->freeHost(exchange);
    fail(MOE_OUT_OF_MEMORY, "no device memory for the state of decoding");
  }
}

DecodeGraph::~DecodeGraph() {
  graph.reset();
  session.device->free(state);
  session.stream->freeHost(exchange);
}

void DecodeGraph::step() {
  prepare(session, function);
  passState(session, function,
            {&state->token, &state->position, &state->sequence, &state->stop,
             1},
            0);
  enter(session, function);
}

void DecodeGraph::capture() {
  graph = session.stream->capture(function.name, [&] { step(); });
}

/// The first step of a session runs as it is: it takes the work space that a
/// captured one finds, and the driver loads kernels at their first launch.
void DecodeGraph::enqueueStep() {
  if (graph) {
    session.stream->launch(*graph);
    return;
  }
  step();
  capture();
}

int64_t DecodeGraph::run(int32_t token, int64_t position, int64_t sequence,
                         int64_t count, bool stopAtEos, int32_t *ids) {
  exchange->start = {token, static_cast<int32_t>(position),
                     static_cast<int32_t>(sequence), stopAtEos ? 0 : -1};
  session.stream->copyIn(state, &exchange->start, sizeof(State));
  for (int64_t done = 0; done < count;) {
    int64_t steps = std::min(window, count - done);
    for (int64_t i = 0; i < steps; ++i) {
      enqueueStep();
      session.stream->queueCopyOut(&exchange->ids[i], &state->token,
                                   sizeof(int32_t));
    }
    finish(session, function);
    for (int64_t i = 0; i < steps; ++i) {
      int32_t id = exchange->ids[i];
      if (id < 0)
        failWithoutToken();
      ids[done++] = id;
      if (stopAtEos && isEos(*session.model->program, id))
        return done;
    }
  }
  return count;
}

// --- Call by call --------------------------------------------------------

static int64_t runCalls(moe_session &session, int32_t token, int64_t sequence,
                        int64_t count, bool stopAtEos, int32_t *ids) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info &forward = *findFunction(program, "forward");
  int32_t of = static_cast<int32_t>(sequence);
  session.logits.resize(static_cast<size_t>(program.vocabulary));
  for (int64_t done = 0; done < count;) {
    placeTokens(session, &token, nullptr, &of, 1);
    beginWriting(session, 1);
    forwardPiece(session, &token, 0, 1, 0, session.logits.data());
    finish(session, forward);
    endWriting(session);
    token = argmax(session.logits.data(), program.vocabulary);
    ids[done++] = token;
    if (stopAtEos && isEos(program, token))
      return done;
  }
  return count;
}

/// Each graph does the same whatever it meets, so what the host wants to see of
/// every step goes call by call.
static bool usesGraph(const moe_session &session) {
  return session.device && !session.recordLoad && !session.profiled &&
         findFunction(*session.model->program, "decode_step");
}

static int64_t runGraph(moe_session &session, int32_t token, int64_t sequence,
                        int64_t count, bool stopAtEos, int32_t *ids) {
  if (!session.decode)
    session.decode = std::make_unique<DecodeGraph>(session);
  int32_t of = static_cast<int32_t>(sequence);
  placeTokens(session, &token, nullptr, &of, 1);
  beginWriting(session, 1);
  int64_t position = session.positions[0];
  int64_t &written = session.written[sequence], before = written;
  // If a step fails, nobody knows how many have written.
  written = std::max(before, position + count);
  int64_t produced = session.decode->run(token, position, sequence, count,
                                         stopAtEos, ids);
  // Steps behind an end of text write nothing.
  written = std::max(before, position + produced);
  session.lengths[sequence] = position + produced;
  return produced;
}

moe_status moe_session_generate(moe_session *session, int64_t sequence,
                                int32_t token, int64_t count,
                                uint32_t stop_at_eos, int32_t *ids,
                                int64_t *produced) {
  return call(session, [&] {
    requireLanguageModel(*session);
    if (count < 1 || !ids || !produced)
      fail(MOE_INVALID_ARGUMENT,
           format("count is %lld, expected at least 1 and memory for ids",
                  static_cast<long long>(count)));
    if (sequence < 0 || sequence >= session->sequences)
      fail(MOE_INVALID_ARGUMENT,
           format("sequence is %lld, expected 0 to %lld",
                  static_cast<long long>(sequence),
                  static_cast<long long>(session->sequences - 1)));
    int64_t length = session->lengths[sequence];
    if (count > session->context - length)
      fail(MOE_INVALID_ARGUMENT,
           format("%lld more tokens after %lld do not fit, the context holds "
                  "%lld",
                  static_cast<long long>(count), static_cast<long long>(length),
                  static_cast<long long>(session->context)));
    auto run = usesGraph(*session) ? runGraph : runCalls;
    *produced =
        run(*session, token, sequence, count, stop_at_eos != 0, ids);
  });
}
