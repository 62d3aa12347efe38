// Reading of untrusted files and writing of files that appear whole or not at
// all.
#ifndef MOE_LIB_RUNTIME_FILES_H
#define MOE_LIB_RUNTIME_FILES_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace moe::runtime {

/// A regular file opened for reading. Every failure is an Error that names it.
class InputFile {
public:
  explicit InputFile(const std::string &path);
  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  const std::string &path() const { return name; }
  uint64_t size() const { return bytes; }

  /// Reads exactly `count` bytes at `offset`; the file must have them.
  void read(void *data, uint64_t count, uint64_t offset) const;

private:
  std::string name;
  int descriptor = -1;
  uint64_t bytes = 0;
};

/// Fails if two outputs are one file, or one of them is an input or the program:
/// it would take the other's place. Empty names and devices are passed over.
void checkDistinct(std::vector<std::string> inputs,
                   const std::vector<std::string> &outputs);

/// A file under construction. It has no name until commit(), which puts it in
/// place of an older file at once; without commit() nothing remains. A path
/// that is a device or a pipe is written to directly.
class OutputFile {
public:
  /// Fails now if the folder cannot be written to.
  explicit OutputFile(const std::string &path);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  void write(const void *data, uint64_t count);
  void commit();

private:
  [[noreturn]] void failed(const char *action, int error);
  void create();

  std::string name;      ///< as the user wrote it
  std::string target;    ///< with symbolic links followed
  std::string temporary; ///< empty while the file has no name
  int descriptor = -1;
  bool direct = false;
};

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_FILES_H
