// How the runtime reports what went wrong: one exception type that never
// leaves the C interface, and helpers that make safe one-line messages.
#ifndef MOE_LIB_RUNTIME_ERROR_H
#define MOE_LIB_RUNTIME_ERROR_H

#include "moe/Runtime/Runtime.h"

#include <string>
#include <vector>

namespace moe::runtime {

/// Thrown inside the runtime, turned into a status at the C interface.
struct Error {
  moe_status status;
  std::string message;
};

[[noreturn]] void fail(moe_status status, std::string message);

/// Formats like printf.
__attribute__((format(printf, 1, 2))) std::string format(const char *text, ...);

/// `text` in single quotes, shortened, with bytes that would break a line of
/// text escaped: names in files are untrusted.
std::string quote(const std::string &text);

/// "[3, 4]", with "?" for dynamic extents.
std::string shapeText(const int64_t *shape, size_t rank);

/// The words joined by commas; long lists end in "...".
std::string listText(const std::vector<std::string> &words);

/// Text of an errno value.
std::string systemText(int error);

/// Bytes in a form people read: "1.5 GB".
std::string bytesText(uint64_t bytes);

/// The candidate nearest to `word`, empty if none is near.
std::string nearest(const std::string &word,
                    const std::vector<std::string> &candidates);

/// Copies a message into the caller's buffer of the C interface.
void copyMessage(const std::string &message, char *buffer, size_t size);

/// Runs `body` and turns whatever it throws into a status and a message.
template <typename Body>
moe_status guard(std::string &message, Body body) noexcept {
  try {
    body();
    return MOE_OK;
  } catch (const Error &error) {
    try {
      message = error.message;
    } catch (...) {
    }
    return error.status;
  } catch (...) {
    // Nothing but the C++ library's out-of-memory is thrown otherwise, and the
    // message must fit where no memory is left.
    try {
      message = "out of memory";
    } catch (...) {
    }
    return MOE_OUT_OF_MEMORY;
  }
}

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_ERROR_H
