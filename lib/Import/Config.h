//===- Config.h - Reads config.json -----------------------------*- C++ -*-===//
//
// Typed access to a model's configuration. The first error is kept, so that
// architectures read straight through.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_CONFIG_H
#define MOE_LIB_IMPORT_CONFIG_H

#include "moe/Import/Text.h"

#include <initializer_list>
#include <optional>
#include <vector>

namespace mlir::moe {

class Config {
public:
  /// `name` begins error messages.
  Config(const llvm::json::Object &object, llvm::StringRef name)
      : object(object), name(name) {}

  using Keys = std::initializer_list<llvm::StringRef>;

  /// Whole number from `min` to `max`. Of several keys, names of one thing, the
  /// first present counts; two that contradict each other are an error. Absent
  /// or null: `otherwise`.
  int64_t integer(Keys keys, int64_t otherwise, int64_t min, int64_t max);
  /// As above; null and absent are told apart from numbers: no value if null,
  /// `otherwise` if absent.
  std::optional<int64_t> optionalInteger(llvm::StringRef key,
                                         std::optional<int64_t> otherwise,
                                         int64_t min, int64_t max);
  double number(llvm::StringRef key, double otherwise, double min, double max);
  std::optional<double> optionalNumber(llvm::StringRef key);
  bool boolean(llvm::StringRef key, bool otherwise);
  std::string text(Keys keys, llvm::StringRef otherwise);
  /// A list of whole numbers, or one alone; absent or null: empty.
  std::vector<int64_t> integers(llvm::StringRef key, int64_t min, int64_t max);
  /// A list of numbers; absent or null: empty.
  std::vector<double> numbers(llvm::StringRef key, double min, double max);
  /// A list of texts; absent or null: none.
  std::optional<std::vector<std::string>> texts(llvm::StringRef key);
  /// The object under the first key that is present and not null, as a
  /// configuration of its own, or null.
  const llvm::json::Object *child(Keys keys);

  /// The object under `key` as a configuration of its own, empty if there is
  /// none. Its errors are to be adopted.
  Config section(llvm::StringRef key);

  /// Whether a key is present with the value null.
  bool isNull(llvm::StringRef key) const {
    return object.get(key) && !find(key);
  }
  /// Whether a key is present and not null.
  bool has(llvm::StringRef key) const;
  llvm::StringRef getName() const { return name; }

  /// Keeps `message`, prefixed with the file's name, unless there is an error
  /// already.
  void fail(const llvm::Twine &message);
  /// Takes the error and the warnings of `part`, which carry its own name.
  void adopt(const Config &part) {
    if (firstError.empty())
      firstError = part.firstError;
    warnings.insert(warnings.end(), part.warnings.begin(), part.warnings.end());
  }
  /// Keeps what the user should know, prefixed with the file's name, though the
  /// program is built.
  void warn(const llvm::Twine &message);
  const std::vector<std::string> &getWarnings() const { return warnings; }
  bool failed() const { return !firstError.empty(); }
  const std::string &getError() const { return firstError; }

private:
  const llvm::json::Value *find(llvm::StringRef key) const;

  const llvm::json::Object &object;
  std::string name;
  std::string firstError;
  std::vector<std::string> warnings;
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_CONFIG_H
