// Greedy decoding on a device: one step is captured into a graph, which is then
// replayed for every token.
#ifndef MOE_LIB_RUNTIME_GENERATE_H
#define MOE_LIB_RUNTIME_GENERATE_H

#include "Model.h"

namespace moe::runtime {

/// The state that steps of the function "decode_step" advance on the device,
/// and the graph of one step, made once a session.
class DecodeGraph {
public:
  explicit DecodeGraph(moe_session &session);
  ~DecodeGraph();
  DecodeGraph(const DecodeGraph &) = delete;
  DecodeGraph &operator=(const DecodeGraph &) = delete;

  /// Runs steps, at most `count` that count; gives how many ids were written.
  int64_t run(int32_t token, int64_t position, int64_t sequence, int64_t count,
              bool stopAtEos, int32_t *ids);

private:
  /// Steps between two looks of the host at what was chosen.
  static constexpr int64_t window = 32;
  struct State {
    alignas(64) int32_t token;
    alignas(64) int32_t position;
    alignas(64) int32_t sequence;
    alignas(64) int32_t stop;
  };
  /// What the device reads and writes in memory of the host.
  struct Exchange {
    State start;
    int32_t ids[window];
  };

  void step();
  void enqueueStep();
  void capture();

  moe_session &session;
  const moe_function_info &function;
  State *state = nullptr;       ///< on the device
  Exchange *exchange = nullptr; ///< on the host
  std::unique_ptr<DeviceGraph> graph;
};

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_GENERATE_H
