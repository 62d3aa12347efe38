// The weights file: where it is looked for, what is checked before it is
// trusted, and its read-only mapping.
#include "Weights.h"

#include "Error.h"
#include "moe/Runtime/Checksum.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using moe::XXH64;
using namespace moe::runtime;

namespace {
struct File {
  int descriptor;
  explicit File(const std::string &path)
      : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
};
} // namespace

static const char remedy[] =
    "; compile the program again, or put back the file made with it";

/// File that holds the code of this program: the executable, or the library.
static std::string programFile(const moe_program_info &program) {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  std::string executable(path, length > 0 ? length : 0);
  Dl_info info;
  link_map *map = nullptr;
  if (dladdr1(&program, &info, reinterpret_cast<void **>(&map),
              RTLD_DL_LINKMAP) &&
      map && map->l_name && *map->l_name)
    return map->l_name; // The main program has an empty name.
  return executable;
}

/// Whether the file at `path` starts with a header that has this build id.
static bool belongs(const std::string &path, const moe_program_info &program) {
  File file(path);
  moe_weights_header header;
  return file.descriptor >= 0 &&
         pread(file.descriptor, &header, sizeof(header), 0) ==
             static_cast<ssize_t>(sizeof(header)) &&
         !std::memcmp(header.magic, MOE_WEIGHTS_MAGIC, sizeof(header.magic)) &&
         !std::memcmp(header.build_id, program.build_id,
                      sizeof(header.build_id));
}

std::string moe::runtime::findWeights(const moe_program_info &program) {
  std::string file = programFile(program);
  std::string path = file + ".weights";
  struct stat status;
  if (!stat(path.c_str(), &status))
    return path;
  // The program may have been renamed: its build id still finds the file.
  size_t slash = file.rfind('/');
  std::string folder = slash == std::string::npos ? "." : file.substr(0, slash);
  std::unique_ptr<DIR, int (*)(DIR *)> entries(opendir(folder.c_str()),
                                               closedir);
  while (dirent *entry = entries ? readdir(entries.get()) : nullptr) {
    std::string candidate = folder + "/" + entry->d_name;
    static const std::string suffix = ".weights";
    if (candidate.size() > suffix.size() &&
        !candidate.compare(candidate.size() - suffix.size(), suffix.size(),
                           suffix) &&
        belongs(candidate, program))
      return candidate;
  }
  return path;
}

/// Checks the header against itself, the file and the program.
static void check(const moe_weights_header &header, uint64_t fileSize,
                  const std::string &path, const moe_program_info &program) {
  std::string what = "weights file " + quote(path);
  auto bad = [&](const std::string &why) {
    fail(MOE_BAD_WEIGHTS, what + " " + why + remedy);
  };
  if (std::memcmp(header.magic, MOE_WEIGHTS_MAGIC, sizeof(header.magic)))
    bad("is not one: it does not start with the mark of weights files");
  if (header.version != 1)
    bad(format("has version %u, expected 1", header.version));
  moe_weights_header blank = header;
  blank.header_checksum = 0;
  if (header.header_size != sizeof(header) ||
      XXH64::of(&blank, sizeof(blank)) != header.header_checksum)
    bad("is damaged: its header does not match its checksum");
  if (std::memcmp(header.build_id, program.build_id, sizeof(header.build_id)))
    bad("belongs to another program: the build ids differ");
  if (header.file_size != fileSize)
    bad(format("has %llu bytes, expected %llu: it was %s",
               static_cast<unsigned long long>(fileSize),
               static_cast<unsigned long long>(header.file_size),
               fileSize < header.file_size ? "cut" : "extended"));
  if (header.file_size != program.weights_size ||
      header.num_tensors != program.num_parameters)
    bad("does not fit the program: sizes differ");
}

Weights::~Weights() {
  if (memory)
    munmap(memory, bytes);
}

void Weights::open(const std::string &path, const moe_program_info &program) {
  File file(path);
  if (file.descriptor < 0) {
    int error = errno;
    fail(MOE_FILE_ERROR,
         "cannot open the weights file " + quote(path) + ": " +
             systemText(error) +
             "; it must lie beside the program, or be named by --weights");
  }
  struct stat status;
  if (fstat(file.descriptor, &status) || !S_ISREG(status.st_mode))
    fail(MOE_FILE_ERROR,
         "weights file " + quote(path) + " is not a regular file" + remedy);
  uint64_t size = static_cast<uint64_t>(status.st_size);
  moe_weights_header header;
  ssize_t got = pread(file.descriptor, &header, sizeof(header), 0);
  if (got < 0) {
    int error = errno;
    fail(MOE_FILE_ERROR, "cannot read the weights file " + quote(path) + ": " +
                             systemText(error));
  }
  if (got < static_cast<ssize_t>(sizeof(header)))
    fail(MOE_BAD_WEIGHTS,
         "weights file " + quote(path) +
             format(" has %lld bytes, expected %llu: it was cut",
                    static_cast<long long>(got),
                    static_cast<unsigned long long>(program.weights_size)) +
             remedy);
  check(header, size, path, program);

  void *mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor, 0);
  if (mapped == MAP_FAILED) {
    int error = errno;
    fail(MOE_OUT_OF_MEMORY, "cannot map the weights file " + quote(path) +
                                " (" + bytesText(size) +
                                "): " + systemText(error));
  }
  memory = mapped;
  bytes = size;
  name = path;
  // Hints: large pages where the file system can, and reading ahead unless the
  // file would push everything else out of memory.
  madvise(memory, bytes, MADV_HUGEPAGE);
  uint64_t physical = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (bytes < physical / 2)
    madvise(memory, bytes, MADV_WILLNEED);
}

void Weights::verify(moe_progress progress, void *user) const {
  if (!memory)
    return;
  constexpr uint64_t step = uint64_t(16) << 20;
  const char *data = static_cast<const char *>(memory);
  const auto *header = reinterpret_cast<const moe_weights_header *>(data);
  XXH64 hash;
  uint64_t start = std::min<uint64_t>(MOE_WEIGHTS_SECTION, bytes);
  // The gap behind the header is under no checksum, but is always zero.
  bool clean = true;
  for (uint64_t i = sizeof(moe_weights_header); i < start; ++i)
    clean &= data[i] == 0;
  for (uint64_t done = start; done < bytes;) {
    uint64_t size = std::min(step, bytes - done);
    hash.update(data + done, size);
    done += size;
    if (progress)
      progress(user, done, bytes);
  }
  if (!clean || hash.digest() != header->data_checksum)
    fail(MOE_BAD_WEIGHTS, "weights file " + quote(name) +
                              " is damaged: its bytes do not match its "
                              "checksum" +
                              remedy);
}
