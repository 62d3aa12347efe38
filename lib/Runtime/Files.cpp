// Files of the command line: inputs are regular files of known size, outputs
// are renamed into place after every byte was written.
#include "Files.h"

#include "Error.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

using namespace moe::runtime;

InputFile::InputFile(const std::string &path) : name(path) {
  // Opening a pipe must not wait for its other end.
  descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    int error = errno;
    fail(MOE_FILE_ERROR,
         "cannot open " + quote(path) + ": " + systemText(error));
  }
  struct stat status;
  if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(MOE_FILE_ERROR, "cannot read " + quote(path) +
                             ": expected a regular file, got a " +
                             (S_ISDIR(status.st_mode) ? "folder" : "device"));
  }
  bytes = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (descriptor >= 0)
    ::close(descriptor);
}

void InputFile::read(void *data, uint64_t count, uint64_t offset) const {
  char *to = static_cast<char *>(data);
  while (count) {
    size_t step = static_cast<size_t>(std::min<uint64_t>(count, 1u << 30));
    ssize_t got = pread(descriptor, to, step, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      int error = errno;
      fail(MOE_FILE_ERROR,
           "cannot read " + quote(name) + ": " +
               (got ? systemText(error) : std::string("it was cut meanwhile")));
    }
    to += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<uint64_t>(got);
  }
}

/// Whether two names lead to one place: to a file that exists, or that will.
static bool isSameFile(const std::string &one, const std::string &other) {
  struct stat first, second;
  bool exists = !stat(one.c_str(), &first);
  if (exists != !stat(other.c_str(), &second))
    return false;
  if (!exists)
    return one == other;
  return S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

void moe::runtime::checkDistinct(std::vector<std::string> inputs,
                                 const std::vector<std::string> &outputs) {
  inputs.push_back("/proc/self/exe");
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].empty())
      continue;
    for (const std::string &input : inputs)
      if (!input.empty() && isSameFile(input, outputs[i]))
        fail(MOE_INVALID_ARGUMENT,
             quote(outputs[i]) +
                 " is in use by this run, expected another name for the output");
    for (size_t j = 0; j < i; ++j)
      if (!outputs[j].empty() && isSameFile(outputs[j], outputs[i]))
        fail(MOE_INVALID_ARGUMENT,
             quote(outputs[i]) +
                 " is the name of two outputs, expected a name for each");
  }
}

void OutputFile::failed(const char *action, int error) {
  fail(MOE_FILE_ERROR, std::string("cannot ") + action + " " + quote(name) +
                           ": " + systemText(error));
}

OutputFile::OutputFile(const std::string &path) : name(path), target(path) {
  std::unique_ptr<char, void (*)(void *)> resolved(
      realpath(path.c_str(), nullptr), std::free);
  if (resolved)
    target = resolved.get();
  struct stat status;
  if (path.empty())
    failed("write", ENOENT);
  if (!stat(target.c_str(), &status)) {
    if (S_ISDIR(status.st_mode))
      failed("write", EISDIR);
    direct = !S_ISREG(status.st_mode);
    if (!direct && access(target.c_str(), W_OK))
      failed("write", errno);
  }
  create();
}

void OutputFile::create() {
  if (direct) {
    descriptor = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0)
      failed("write", errno);
    return;
  }
  size_t slash = target.rfind('/');
  std::string folder =
      slash == std::string::npos ? "." : target.substr(0, slash + 1);
  // Without a name the file is gone whatever ends the program.
  descriptor = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor >= 0 || errno == ENOENT || errno == EACCES ||
      errno == ENOTDIR || errno == EROFS) {
    if (descriptor < 0)
      failed("write", errno);
    return;
  }
  // Not every file system can do that.
  temporary = target + format(".tmp-%d", static_cast<int>(getpid()));
  descriptor =
      ::open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    int error = errno;
    temporary.clear();
    failed("write", error);
  }
}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

void OutputFile::write(const void *data, uint64_t count) {
  const char *from = static_cast<const char *>(data);
  while (count) {
    size_t step = static_cast<size_t>(std::min<uint64_t>(count, 1u << 30));
    ssize_t put = ::write(descriptor, from, step);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      failed("write", errno);
    from += put;
    count -= static_cast<uint64_t>(put);
  }
}

void OutputFile::commit() {
  if (!direct && fsync(descriptor) && errno != EINVAL && errno != EROFS)
    failed("write", errno);
  if (!direct && temporary.empty()) {
    std::string path = target + format(".tmp-%d", static_cast<int>(getpid()));
    std::string self = format("/proc/self/fd/%d", descriptor);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(),
               AT_SYMLINK_FOLLOW))
      failed("write", errno);
    temporary = path;
  }
  int closed = ::close(descriptor);
  descriptor = -1;
  if (closed)
    failed("write", errno);
  if (direct)
    return;
  if (rename(temporary.c_str(), target.c_str()))
    failed("write", errno);
  temporary.clear();
}
