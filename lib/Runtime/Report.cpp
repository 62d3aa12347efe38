// What runs report besides their results: times, kernels, expert loads.
#include "Commands.h"
#include "Error.h"
#include "Model.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

using namespace moe::runtime;

void moe::runtime::print(const std::string &text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout))
    fail(MOE_FILE_ERROR,
         "cannot write to standard output: " + systemText(errno));
}

SessionHandle moe::runtime::makeSession(moe_model &model,
                                        const Options &options,
                                        int64_t context) {
  moe_session_options o{};
  o.struct_size = sizeof(o);
  o.threads = static_cast<int32_t>(options.threads);
  o.context = context;
  o.piece = options.prefillChunk;
  o.record_load = !options.recordLoad.empty();
  o.profile = options.profile;
  o.poison_cache = options.poisonCache;
  char message[MOE_MESSAGE_SIZE];
  moe_session *session;
  moe_status status =
      moe_session_create(&model, &o, &session, message, sizeof(message));
  if (status != MOE_OK)
    fail(status, message);
  return SessionHandle(session);
}

void moe::runtime::check(moe_session &session, moe_status status) {
  if (status != MOE_OK)
    fail(status, moe_session_message(&session));
}

void moe::runtime::printProfile(moe_session &session) {
  std::vector<moe_profile_entry> entries;
  moe_profile_entry entry;
  double total = 0;
  for (size_t i = 0; moe_session_profile(&session, i, &entry) == MOE_OK; ++i) {
    entries.push_back(entry);
    total += static_cast<double>(entry.nanoseconds);
  }
  std::sort(entries.begin(), entries.end(),
            [](const moe_profile_entry &a, const moe_profile_entry &b) {
              return a.nanoseconds > b.nanoseconds;
            });
  std::fprintf(stderr, "%-40s %8s %12s %12s %7s\n", "kernel", "calls",
               "total ms", "us/call", "share");
  for (const moe_profile_entry &e : entries) {
    double time = static_cast<double>(e.nanoseconds);
    std::fprintf(stderr, "%-40s %8llu %12.3f %12.2f %6.1f%%\n",
                 *e.kernel ? e.kernel : "(outside of kernels)",
                 static_cast<unsigned long long>(e.calls), time / 1e6,
                 e.calls ? time / 1e3 / static_cast<double>(e.calls) : 0.0,
                 total > 0 ? 100 * time / total : 0.0);
  }
}

std::string moe::runtime::jsonText(const std::string &text) {
  return nlohmann::json(text).dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string moe::runtime::deviceJson(const moe_session &session) {
  if (!session.device)
    return "";
  return ", \"device\": " + jsonText(session.device->name());
}

std::string moe::runtime::loadJson(moe_session &session, int64_t tokens) {
  std::string text = format("{\"tokens\": %lld, \"layers\": [",
                            static_cast<long long>(tokens));
  moe_load load;
  for (size_t i = 0; moe_session_load(&session, i, &load) == MOE_OK; ++i) {
    text +=
        format("%s\n  {\"layer\": %d, \"experts\": %lld, \"calls\": %llu, "
               "\"total_rows\": %llu, \"rows_per_expert\": [",
               i ? "," : "", load.layer, static_cast<long long>(load.experts),
               static_cast<unsigned long long>(load.calls),
               static_cast<unsigned long long>(load.total_rows));
    for (int64_t expert = 0; expert < load.experts; ++expert)
      text += (expert ? ", " : "") + std::to_string(load.rows[expert]);
    text += "]}";
  }
  return text + "]}\n";
}

double Timing::median() const {
  if (samples.empty())
    return 0;
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  size_t middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle]
                           : (sorted[middle - 1] + sorted[middle]) / 2;
}

double Timing::spread() const {
  if (samples.empty())
    return 0;
  auto range = std::minmax_element(samples.begin(), samples.end());
  double middle = median();
  return middle > 0 ? (*range.second - *range.first) / middle : 0;
}

Repeats::Repeats(int64_t wanted) : wanted(wanted), start(now()) {}

bool Repeats::more() {
  // Without a number: at least three, then for five seconds.
  constexpr int64_t least = 3, most = 1000;
  constexpr uint64_t enough = 5'000'000'000;
  bool again = wanted
                   ? count < wanted
                   : count < least || (count < most && now() - start < enough);
  count += again;
  return again;
}
