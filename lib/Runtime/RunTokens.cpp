// --tokens: prompt in, logits or greedy continuation out, and their --bench.
#include "Commands.h"
#include "Error.h"
#include "Files.h"
#include "Model.h"
#include "Npy.h"
#include "Statistics.h"

#include <algorithm>
#include <cstring>
#include <optional>

using namespace moe::runtime;

/// The ids of a token file, checked against the vocabulary.
static std::vector<int32_t> readTokens(const std::string &path,
                                       int64_t vocabulary) {
  Tensor tensor = readNpy(path);
  const moe_tensor &view = tensor.view;
  auto bad = [&](const std::string &why) {
    fail(MOE_INVALID_ARGUMENT, "token file " + quote(path) + " " + why);
  };
  if (view.element_type != MOE_I32 && view.element_type != MOE_I64)
    bad(std::string("holds ") + elementTypeName(view.element_type) +
        " elements, expected i32 or i64");
  if (view.rank != 1)
    bad("has shape " + shapeText(view.shape, view.rank) +
        ", expected rank 1: [T]");
  if (view.shape[0] == 0)
    bad("is empty, expected at least one token");
  if (view.shape[0] > INT32_MAX)
    bad("has more tokens than any context");
  std::vector<int32_t> ids(view.shape[0]);
  for (size_t i = 0; i < ids.size(); ++i) {
    int64_t id = view.element_type == MOE_I32
                     ? static_cast<const int32_t *>(view.data)[i]
                     : static_cast<const int64_t *>(view.data)[i];
    if (id < 0 || id >= vocabulary)
      bad(format("has id %lld at index %zu, expected 0 to %lld (the "
                 "vocabulary)",
                 static_cast<long long>(id), i,
                 static_cast<long long>(vocabulary - 1)));
    ids[i] = static_cast<int32_t>(id);
  }
  return ids;
}

/// Tokens per call where the logits of all are wanted: many, as each call reads
/// every weight, but few enough that the logits stay small beside the weights.
static int64_t rowsAtOnce(int64_t vocabulary) {
  constexpr int64_t most = 2048, least = 64, logits = int64_t(1) << 26;
  return std::clamp(logits / std::max<int64_t>(vocabulary, 1), least, most);
}

namespace {
/// A prompt and what follows it, in one session.
class Run {
public:
  Run(moe_session &session, const moe_program_info &program,
      std::vector<int32_t> prompt)
      : session(session), prompt(std::move(prompt)), last(program.vocabulary) {}

  /// Feeds the prompt and leaves the last token's logits. With `file`, writes
  /// those of every token to it.
  void prefill(OutputFile *file) {
    check(session, moe_session_reset(&session));
    int64_t count = size();
    int64_t width = static_cast<int64_t>(last.size());
    if (!file) {
      check(session,
            moe_session_forward(&session, prompt.data(), nullptr, nullptr,
                                count, count - 1, last.data(), width));
      return;
    }
    std::vector<float> rows;
    int64_t most = rowsAtOnce(width);
    for (int64_t start = 0; start < count; start += most) {
      int64_t step = std::min(most, count - start);
      rows.resize(step * width);
      check(session,
            moe_session_forward(&session, prompt.data() + start, nullptr,
                                nullptr, step, 0, rows.data(), step * width));
      file->write(rows.data(), rows.size() * sizeof(float));
      std::memcpy(last.data(), rows.data() + (step - 1) * width,
                  width * sizeof(float));
    }
  }

  /// The id that follows the prompt.
  int32_t next() const {
    return argmax(last.data(), static_cast<int64_t>(last.size()));
  }

  /// Feeds `id` and what follows it, `count` tokens in all unless an end of text
  /// ends them, and appends what follows each.
  void decode(int32_t id, int64_t count, bool stopAtEos,
              std::vector<int32_t> &ids) {
    size_t before = ids.size();
    int64_t produced = 0;
    ids.resize(before + static_cast<size_t>(count));
    check(session,
          moe_session_generate(&session, 0, id, count, stopAtEos,
                               ids.data() + before, &produced));
    ids.resize(before + static_cast<size_t>(produced));
  }

  int64_t size() const { return static_cast<int64_t>(prompt.size()); }

private:
  moe_session &session;
  std::vector<int32_t> prompt;
  std::vector<float> last; ///< logits of the last token fed
};
} // namespace

static std::string idLine(const std::vector<int32_t> &ids) {
  std::string line;
  for (int32_t id : ids)
    line += (line.empty() ? "" : " ") + std::to_string(id);
  return line + "\n";
}

static std::vector<int32_t> generate(Run &run, const Options &options,
                                     const moe_program_info &program) {
  std::vector<int32_t> ids{run.next()};
  bool ended = options.stopAtEos && isEos(program, ids[0]);
  if (!ended && options.generate > 1)
    run.decode(ids[0], options.generate - 1, options.stopAtEos, ids);
  return ids;
}

static double milliseconds(uint64_t start) {
  return static_cast<double>(now() - start) / 1e6;
}

/// Tokens fed in all, for --record-load.
static int64_t bench(Run &run, moe_session &session, const Options &options,
                     int64_t steps) {
  Timing prefill, decode;
  std::vector<int32_t> ids;
  auto round = [&](bool measured) {
    ids.clear();
    uint64_t start = now();
    run.prefill(nullptr);
    ids.push_back(run.next());
    if (measured)
      prefill.samples.push_back(milliseconds(start));
    // A device is given many steps at once, and only their sum is a time.
    int64_t stride = session.device ? std::max<int64_t>(steps, 1) : 1;
    for (int64_t i = 0; i < steps; i += stride) {
      start = now();
      run.decode(ids.back(), stride, false, ids);
      if (measured)
        decode.samples.push_back(milliseconds(start) /
                                 static_cast<double>(stride));
    }
  };
  round(false);
  check(session, moe_session_clear(&session));
  Repeats repeats(options.repeats);
  while (repeats.more())
    round(true);
  ids.resize(static_cast<size_t>(options.generate));
  if (!ids.empty())
    print(idLine(ids));
  print(format("{\"prefill_tokens\": %lld, \"prefill_ms\": %.6g, "
               "\"decode_tokens\": %lld, \"decode_ms_per_token\": %.6g, "
               "\"threads\": %d, \"context\": %lld, \"repeats\": %lld, "
               "\"prefill_spread\": %.4g, \"decode_spread\": %.4g%s}\n",
               static_cast<long long>(run.size()), prefill.median(),
               static_cast<long long>(steps), decode.median(), session.threads,
               static_cast<long long>(session.context),
               static_cast<long long>(repeats.done()), prefill.spread(),
               decode.spread(), deviceJson(session).c_str()));
  return (run.size() + steps) * repeats.done();
}

void moe::runtime::runTokens(moe_model &model, const Options &options) {
  const moe_program_info &program = *moe_model_program(&model);
  if (!program.is_language_model)
    fail(MOE_INVALID_ARGUMENT,
         "this program is no language model: run one of "
         "its functions by --function, --help lists them");
  std::vector<int32_t> prompt = readTokens(options.tokens, program.vocabulary);
  int64_t count = static_cast<int64_t>(prompt.size());
  int64_t limit = program.max_context > 0 ? program.max_context : INT32_MAX;
  if (options.context > limit)
    fail(MOE_INVALID_ARGUMENT,
         format("--context is %lld, the model has at most %lld positions",
                static_cast<long long>(options.context),
                static_cast<long long>(limit)));
  int64_t room = options.context ? options.context : limit;
  // The last generated id is not fed back.
  int64_t needed = count + std::max<int64_t>(options.generate - 1, 0);
  if (needed > room)
    fail(MOE_INVALID_ARGUMENT,
         format("%lld prompt tokens%s need %lld positions, the context has %lld"
                "%s",
                static_cast<long long>(count),
                options.generate
                    ? format(" and %lld to generate",
                             static_cast<long long>(options.generate))
                          .c_str()
                    : "",
                static_cast<long long>(needed), static_cast<long long>(room),
                options.context && needed <= limit ? " (--context)"
                                                   : " (the model's limit)"));
  // A measured decode feeds every id back, if the context has room for it.
  int64_t steps = std::min(options.generate, room - count);
  if (options.bench)
    needed = std::max(needed, count + steps);

  // Outputs are opened first: what cannot be written should not be computed.
  checkDistinct({options.tokens, moe_model_weights_path(&model)},
                {options.logits, options.recordLoad});
  std::optional<OutputFile> logits, load;
  if (!options.logits.empty()) {
    if (options.logits.size() < 4 ||
        options.logits.compare(options.logits.size() - 4, 4, ".npy"))
      fail(MOE_INVALID_ARGUMENT, "--logits got " + quote(options.logits) +
                                     ", expected a name that ends in .npy");
    logits.emplace(options.logits);
  }
  if (!options.recordLoad.empty())
    load.emplace(options.recordLoad);

  SessionHandle session =
      makeSession(model, options, options.context ? options.context : needed);
  Run run(*session, program, std::move(prompt));
  int64_t fed = 0;
  std::vector<int32_t> ids;
  if (options.bench) {
    fed = bench(run, *session, options, steps);
  } else {
    if (logits) {
      moe_tensor shape{};
      shape.element_type = MOE_F32;
      shape.rank = 2;
      shape.shape[0] = count;
      shape.shape[1] = program.vocabulary;
      writeNpyHeader(*logits, shape, "the logits");
    }
    run.prefill(logits ? &*logits : nullptr);
    if (options.generate)
      ids = generate(run, options, program);
    fed = count + std::max<int64_t>(static_cast<int64_t>(ids.size()) - 1, 0);
  }
  if (load) {
    std::string text = loadJson(*session, fed);
    load->write(text.data(), text.size());
    load->commit();
  }
  if (logits)
    logits->commit();
  if (options.profile)
    printProfile(*session);
  if (!ids.empty())
    print(idLine(ids));
}
