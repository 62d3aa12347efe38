// Reader and writer of .npy, versions 1 to 3, little endian, C order. The
// reader trusts nothing it reads.
#include "Npy.h"

#include "Error.h"
#include "Files.h"

#include <cstring>

using namespace moe::runtime;

static const char magic[] = "\x93NUMPY";
static constexpr size_t magicSize = 6;

namespace {
/// The header: a Python dictionary of exactly three known entries.
class HeaderParser {
public:
  HeaderParser(const std::string &text, const std::string &file)
      : text(text), file(file) {}

  void parse(std::string &descr, moe_tensor &tensor) {
    bool seen[3] = {};
    expect('{');
    while (!accept('}')) {
      std::string key = string();
      int entry = key == "descr"           ? 0
                  : key == "fortran_order" ? 1
                  : key == "shape"         ? 2
                                           : -1;
      if (entry < 0 || seen[entry])
        bad("has " + quote(key) + " unexpectedly in its header");
      seen[entry] = true;
      expect(':');
      if (entry == 0)
        descr = type();
      else if (entry == 1)
        order();
      else
        shape(tensor);
      if (accept('}'))
        break;
      expect(',');
    }
    space();
    if (at != text.size())
      bad("has text after its header's dictionary");
    if (!seen[0] || !seen[1] || !seen[2])
      bad("lacks one of 'descr', 'fortran_order', 'shape' in its header");
  }

private:
  [[noreturn]] void bad(const std::string &why) {
    fail(MOE_INVALID_ARGUMENT, ".npy file " + quote(file) + " " + why);
  }
  void space() {
    while (at < text.size() &&
           (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool accept(char c) {
    space();
    if (at == text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  void expect(char c) {
    if (!accept(c))
      bad(format("has a malformed header: expected '%c' at byte %zu of it", c,
                 at));
  }
  std::string string() {
    space();
    char mark = at < text.size() ? text[at] : 0;
    if (mark != '\'' && mark != '"')
      bad(format("has a malformed header: expected a string at byte %zu of it",
                 at));
    size_t end = text.find(mark, ++at);
    if (end == std::string::npos)
      bad("has a malformed header: a string does not end");
    std::string result = text.substr(at, end - at);
    at = end + 1;
    return result;
  }
  std::string type() {
    space();
    if (at < text.size() && text[at] == '[')
      bad("holds a structured array, expected plain numbers");
    return string();
  }
  void order() {
    space();
    if (!text.compare(at, 5, "False")) {
      at += 5;
      return;
    }
    if (!text.compare(at, 4, "True"))
      bad("is in Fortran order, expected C order: save "
          "numpy.ascontiguousarray(array)");
    bad("has a malformed 'fortran_order' in its header");
  }
  int64_t integer() {
    space();
    size_t start = at;
    int64_t value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
      if (!multiply(value, 10) ||
          __builtin_add_overflow(value, text[at] - '0', &value))
        bad("has a shape that overflows 64 bits");
    if (at == start)
      bad("has a malformed 'shape' in its header, expected like (3, 4)");
    return value;
  }
  void shape(moe_tensor &tensor) {
    expect('(');
    tensor.rank = 0;
    while (!accept(')')) {
      if (tensor.rank == MOE_MAX_RANK)
        bad(format("has more than %d dimensions", MOE_MAX_RANK));
      tensor.shape[tensor.rank++] = integer();
      if (accept(')'))
        return;
      expect(',');
    }
  }

  const std::string &text;
  const std::string &file;
  size_t at = 0;
};
} // namespace

static void checkType(const std::string &descr, const std::string &path) {
  if (elementTypeOfNpy(descr))
    return;
  std::string what =
      ".npy file " + quote(path) + " holds elements of type " + quote(descr);
  if (!descr.empty() && descr[0] == '>')
    fail(MOE_INVALID_ARGUMENT, what + ", which are big endian; save "
                                      "array.astype(array.dtype.newbyteorder("
                                      "'<'))");
  fail(MOE_INVALID_ARGUMENT,
       what + ", expected one of <f4, <f2, <f8, <i4, <i8, |i1, |u1, |b1 (bf16 "
              "needs a .safetensors file)");
}

Tensor moe::runtime::readNpy(const std::string &path) {
  InputFile file(path);
  auto bad = [&](const std::string &why) {
    fail(MOE_INVALID_ARGUMENT, quote(path) + " " + why);
  };
  unsigned char start[12] = {};
  if (file.size() < 10)
    bad(format("is no .npy file: it has %llu bytes only",
               static_cast<unsigned long long>(file.size())));
  file.read(start, std::min<uint64_t>(sizeof(start), file.size()), 0);
  if (std::memcmp(start, magic, magicSize))
    bad("is no .npy file: it does not start with \\x93NUMPY");
  int version = start[6];
  if (version < 1 || version > 3 || start[7] != 0)
    bad(format("has .npy version %d.%d, expected 1.0, 2.0 or 3.0", version,
               start[7]));
  uint64_t prefix = version == 1 ? 10 : 12;
  uint64_t length = start[8] | static_cast<uint64_t>(start[9]) << 8;
  if (version > 1)
    length |= static_cast<uint64_t>(start[10]) << 16 |
              static_cast<uint64_t>(start[11]) << 24;
  // A header of one tensor is short; more is an attempt on our memory.
  constexpr uint64_t longest = 1u << 20;
  if (file.size() < prefix || length > file.size() - prefix || length > longest)
    bad(format("says its header has %llu bytes, which the file does not have",
               static_cast<unsigned long long>(length)));
  std::string header(static_cast<size_t>(length), '\0');
  file.read(&header[0], length, prefix);

  Tensor tensor;
  std::string descr;
  HeaderParser(header, path).parse(descr, tensor.view);
  checkType(descr, path);
  tensor.view.element_type = elementTypeOfNpy(descr)->id;
  int64_t bytes =
      countBytes(tensor.view.element_type, tensor.view.shape, tensor.view.rank);
  uint64_t rest = file.size() - prefix - length;
  if (bytes < 0 || static_cast<uint64_t>(bytes) != rest)
    bad("has " + std::to_string(rest) + " bytes of data, its shape " +
        shapeText(tensor.view.shape, tensor.view.rank) + " needs " +
        (bytes < 0 ? "more than 64 bits can count" : std::to_string(bytes)));
  tensor.memory = allocate(static_cast<size_t>(bytes));
  tensor.view.data = tensor.memory.get();
  file.read(tensor.view.data, static_cast<uint64_t>(bytes), prefix + length);
  checkBools(tensor.view, quote(path));
  return tensor;
}

void moe::runtime::writeNpyHeader(OutputFile &file, const moe_tensor &shape,
                                  const std::string &what) {
  const ElementType *type = elementType(shape.element_type);
  if (!type->npy)
    fail(MOE_INVALID_ARGUMENT, what + " has " + type->name +
                                   " elements, which .npy does not have: write "
                                   "a .safetensors file");
  std::string text = format("{'descr': '%s', 'fortran_order': False, "
                            "'shape': (",
                            type->npy);
  for (uint32_t i = 0; i < shape.rank; ++i)
    text += std::to_string(shape.shape[i]) + (shape.rank == 1      ? ","
                                              : i + 1 < shape.rank ? ", "
                                                                   : "");
  text += "), }";
  // Data starts at a multiple of 64; the header ends in a line end.
  size_t total = (10 + text.size() + 1 + 63) / 64 * 64;
  text.resize(total - 11, ' ');
  text += '\n';
  char start[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
  start[8] = static_cast<char>(text.size() & 0xff);
  start[9] = static_cast<char>(text.size() >> 8);
  file.write(start, sizeof(start));
  file.write(text.data(), text.size());
}

void moe::runtime::writeNpy(OutputFile &file, const moe_tensor &tensor,
                            const std::string &what) {
  writeNpyHeader(file, tensor, what);
  file.write(tensor.data, static_cast<uint64_t>(countBytes(
                              tensor.element_type, tensor.shape, tensor.rank)));
}
