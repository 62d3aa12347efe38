//===- Config.cpp - Reads config.json -------------------------------------===//
//
// Checks type and range of every value that an architecture asks for.
//
//===----------------------------------------------------------------------===//

#include "Config.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace mlir::moe;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// How the file spells a value, cut to a line.
std::string show(const llvm::json::Value &value) {
  std::string text;
  llvm::raw_string_ostream(text) << value;
  return quoted(text);
}

std::string range(double min, double max) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.17g to %.17g", min, max);
  return text;
}

} // namespace

void Config::fail(const Twine &message) {
  if (firstError.empty())
    firstError = (name + ": " + message).str();
}

void Config::warn(const Twine &message) {
  warnings.push_back((name + ": " + message).str());
}

const llvm::json::Value *Config::find(StringRef key) const {
  const llvm::json::Value *value = object.get(key);
  return value && value->kind() != llvm::json::Value::Null ? value : nullptr;
}

bool Config::has(StringRef key) const { return find(key) != nullptr; }

int64_t Config::integer(Keys keys, int64_t otherwise, int64_t min,
                        int64_t max) {
  std::optional<int64_t> result;
  StringRef from;
  for (StringRef key : keys) {
    const llvm::json::Value *value = find(key);
    if (!value)
      continue;
    std::optional<int64_t> number = value->kind() == llvm::json::Value::Number
                                        ? value->getAsInteger()
                                        : std::nullopt;
    if (!number || *number < min || *number > max) {
      fail("'" + key + "': expected a whole number from " + Twine(min) +
           " to " + Twine(max) + ", got " + show(*value));
      return otherwise;
    }
    if (result && *result != *number) {
      fail("'" + from + "' is " + Twine(*result) + " and '" + key + "' is " +
           Twine(*number) + "; expected one of them, or both equal");
      return otherwise;
    }
    result = number;
    from = key;
  }
  return result.value_or(otherwise);
}

std::optional<int64_t> Config::optionalInteger(StringRef key,
                                               std::optional<int64_t> otherwise,
                                               int64_t min, int64_t max) {
  if (!object.get(key))
    return otherwise;
  if (!find(key))
    return std::nullopt;
  return integer({key}, min, min, max);
}

std::optional<double> Config::optionalNumber(StringRef key) {
  const llvm::json::Value *value = find(key);
  if (!value)
    return std::nullopt;
  std::optional<double> number = value->getAsNumber();
  if (!number || !std::isfinite(*number)) {
    fail("'" + key + "': expected a number, got " + show(*value));
    return std::nullopt;
  }
  return number;
}

double Config::number(StringRef key, double otherwise, double min, double max) {
  std::optional<double> value = optionalNumber(key);
  if (!value)
    return otherwise;
  if (*value >= min && *value <= max)
    return *value;
  fail("'" + key + "': expected a number from " + range(min, max) + ", got " +
       show(*find(key)));
  return otherwise;
}

bool Config::boolean(StringRef key, bool otherwise) {
  const llvm::json::Value *value = find(key);
  if (!value)
    return otherwise;
  if (std::optional<bool> truth = value->getAsBoolean())
    return *truth;
  fail("'" + key + "': expected true or false, got " + show(*value));
  return otherwise;
}

std::string Config::text(Keys keys, StringRef otherwise) {
  for (StringRef key : keys) {
    const llvm::json::Value *value = find(key);
    if (!value)
      continue;
    if (std::optional<StringRef> text = value->getAsString())
      return text->str();
    fail("'" + key + "': expected text, got " + show(*value));
    return otherwise.str();
  }
  return otherwise.str();
}

std::vector<int64_t> Config::integers(StringRef key, int64_t min, int64_t max) {
  std::vector<int64_t> result;
  const llvm::json::Value *value = find(key);
  if (!value)
    return result;
  auto add = [&](const llvm::json::Value &item) {
    std::optional<int64_t> number = item.kind() == llvm::json::Value::Number
                                        ? item.getAsInteger()
                                        : std::nullopt;
    if (number && *number >= min && *number <= max)
      result.push_back(*number);
    else
      fail("'" + key + "': expected whole numbers from " + Twine(min) + " to " +
           Twine(max) + ", got " + show(item));
  };
  if (const llvm::json::Array *array = value->getAsArray())
    for (const llvm::json::Value &item : *array)
      add(item);
  else
    add(*value);
  return result;
}

std::vector<double> Config::numbers(StringRef key, double min, double max) {
  std::vector<double> result;
  const llvm::json::Value *value = find(key);
  if (!value)
    return result;
  const llvm::json::Array *array = value->getAsArray();
  if (!array) {
    fail("'" + key + "': expected a list of numbers, got " + show(*value));
    return result;
  }
  for (const llvm::json::Value &item : *array) {
    std::optional<double> number = item.getAsNumber();
    if (!number || !(*number >= min && *number <= max)) {
      fail("'" + key + "': expected numbers from " + range(min, max) +
           ", got " + show(item));
      return {};
    }
    result.push_back(*number);
  }
  return result;
}

std::optional<std::vector<std::string>> Config::texts(StringRef key) {
  const llvm::json::Value *value = find(key);
  if (!value)
    return std::nullopt;
  std::vector<std::string> result;
  const llvm::json::Array *array = value->getAsArray();
  if (!array) {
    fail("'" + key + "': expected a list of texts, got " + show(*value));
    return std::nullopt;
  }
  for (const llvm::json::Value &item : *array) {
    std::optional<StringRef> text = item.getAsString();
    if (!text) {
      fail("'" + key + "': expected a list of texts, got " + show(item) +
           " in it");
      return std::nullopt;
    }
    result.push_back(text->str());
  }
  return result;
}

const llvm::json::Object *Config::child(Keys keys) {
  for (StringRef key : keys) {
    const llvm::json::Value *value = find(key);
    if (!value)
      continue;
    if (const llvm::json::Object *object = value->getAsObject())
      return object;
    fail("'" + key + "': expected an object, got " + show(*value));
    return nullptr;
  }
  return nullptr;
}

Config Config::section(StringRef key) {
  static const llvm::json::Object kNone;
  const llvm::json::Object *object = child({key});
  return Config(object ? *object : kNone, name + ": " + quoted(key));
}
