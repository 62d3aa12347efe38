// The commands of compiled programs, one function each. They throw Error, and
// leave no output file behind when they do.
#ifndef MOE_LIB_RUNTIME_COMMANDS_H
#define MOE_LIB_RUNTIME_COMMANDS_H

#include "Options.h"
#include "moe/Runtime/Runtime.h"

#include <memory>
#include <string>
#include <vector>

namespace moe::runtime {

struct ModelCloser {
  void operator()(moe_model *model) const { moe_close(model); }
};
struct SessionDestroyer {
  void operator()(moe_session *session) const { moe_session_destroy(session); }
};
using ModelHandle = std::unique_ptr<moe_model, ModelCloser>;
using SessionHandle = std::unique_ptr<moe_session, SessionDestroyer>;

/// --help and --version: these run none of the program's code.
void printHelp(const moe_program_info &program, const std::string &name);
void printVersion(const moe_program_info &program);

/// --tokens and --function.
void runTokens(moe_model &model, const Options &options);
void runFunction(moe_model &model, const Options &options);

/// Parts that both share.
SessionHandle makeSession(moe_model &model, const Options &options,
                          int64_t context);
void check(moe_session &session, moe_status status);

/// Writes to standard output and makes sure it arrived.
void print(const std::string &text);

/// `text` as a JSON string, quotes included.
std::string jsonText(const std::string &text);

/// ", "device": NAME" for the JSON of --bench; nothing on the CPU.
std::string deviceJson(const moe_session &session);

/// What --profile and --record-load ask for, after the run.
void printProfile(moe_session &session);
std::string loadJson(moe_session &session, int64_t tokens);

/// Times of --bench, in milliseconds.
struct Timing {
  std::vector<double> samples;
  double median() const;
  double spread() const; ///< (max - min) / median
};

/// Decides when --bench has measured enough.
class Repeats {
public:
  explicit Repeats(int64_t wanted);
  bool more();
  int64_t done() const { return count; }

private:
  int64_t wanted;
  int64_t count = 0;
  uint64_t start;
};

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_COMMANDS_H
