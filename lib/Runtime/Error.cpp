// Messages of the runtime: formatting, quoting of untrusted names, and the
// nearest spelling of a mistyped word.
#include "Error.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

using namespace moe::runtime;

void moe::runtime::fail(moe_status status, std::string message) {
  throw Error{status, std::move(message)};
}

std::string moe::runtime::format(const char *text, ...) {
  va_list arguments, again;
  va_start(arguments, text);
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, text, arguments);
  va_end(arguments);
  std::string result(length > 0 ? length : 0, '\0');
  if (length > 0)
    std::vsnprintf(&result[0], result.size() + 1, text, again);
  va_end(again);
  return result;
}

std::string moe::runtime::quote(const std::string &text) {
  constexpr size_t limit = 160;
  std::string result = "'";
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == limit) {
      result += "...";
      break;
    }
    unsigned char c = text[i];
    if (c < 0x20 || c == 0x7f)
      result += format("\\x%02x", c);
    else
      result += static_cast<char>(c);
  }
  return result + "'";
}

std::string moe::runtime::shapeText(const int64_t *shape, size_t rank) {
  std::string result = "[";
  for (size_t i = 0; i < rank; ++i) {
    if (i)
      result += ", ";
    result += shape[i] <= MOE_DYNAMIC ? "?" : std::to_string(shape[i]);
  }
  return result + "]";
}

std::string moe::runtime::listText(const std::vector<std::string> &words) {
  constexpr size_t limit = 8;
  std::string result;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i == limit)
      return result + ", ...";
    result += (i ? ", " : "") + words[i];
  }
  return result.empty() ? "none" : result;
}

std::string moe::runtime::systemText(int error) {
  char buffer[128];
  // The GNU form returns the text and may leave the buffer alone.
  return strerror_r(error, buffer, sizeof(buffer));
}

std::string moe::runtime::bytesText(uint64_t bytes) {
  static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 10000)
    return format("%llu bytes", static_cast<unsigned long long>(bytes));
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(units); ++unit)
    value /= 1000;
  return format("%.1f %s", value, units[unit]);
}

/// Levenshtein distance.
static size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min(
          {above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string moe::runtime::nearest(const std::string &word,
                                  const std::vector<std::string> &candidates) {
  if (word.size() > 64)
    return "";
  std::string best;
  size_t bestDistance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string &candidate : candidates) {
    size_t d = distance(word, candidate);
    if (d < bestDistance && d < candidate.size()) {
      bestDistance = d;
      best = candidate;
    }
  }
  return best;
}

void moe::runtime::copyMessage(const std::string &message, char *buffer,
                               size_t size) {
  if (!buffer || !size)
    return;
  size_t length = std::min(message.size(), size - 1);
  std::memcpy(buffer, message.data(), length);
  buffer[length] = '\0';
}
