// Reader and writer of .safetensors. The header comes from strangers: its
// depth is bounded before parsing, and every number in it is checked.
#include "Safetensors.h"

#include "Error.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

using namespace moe::runtime;

/// What the format itself allows at most.
static constexpr uint64_t longestHeader = 100'000'000;
static constexpr int deepest = 4;

namespace moe::runtime {

/// Receives the header's JSON piece by piece, so that a name that stands there
/// twice is noticed and no tree of values is built.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
public:
  HeaderHandler(std::vector<SafetensorsReader::Entry> &entries,
                const std::string &file)
      : entries(entries), file(file) {}

  bool null() override { bad("null"); }
  bool boolean(bool) override { bad("a boolean"); }
  bool number_integer(number_integer_t value) override {
    bad("the negative number " + std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!inArray)
      bad("a number");
    if (value > INT64_MAX)
      bad("the number " + std::to_string(value) + ", beyond 63 bits");
    numbers.push_back(static_cast<int64_t>(value));
    if (numbers.size() > MOE_MAX_RANK)
      fail(MOE_INVALID_ARGUMENT,
           what() + format(" has more than %d dimensions", MOE_MAX_RANK));
    return true;
  }
  bool number_float(number_float_t, const string_t &text) override {
    bad("the number " + quote(text));
  }
  bool string(string_t &value) override {
    if (metadata)
      return true;
    if (depth != 2 || inArray || field != "dtype")
      bad("the string " + quote(value));
    const ElementType *type = elementTypeOfSafetensors(value);
    if (!type)
      fail(MOE_INVALID_ARGUMENT,
           what() + " has the element type " + quote(value) +
               ", expected one of F32, F16, BF16, F64, I32, I64, I8, U8, BOOL");
    entries.back().shape.element_type = type->id;
    seen[0] = true;
    return true;
  }
  bool binary(binary_t &) override { bad("binary data"); }
  bool start_object(std::size_t) override {
    if (++depth > 2 || inArray)
      bad("an object");
    std::fill(std::begin(seen), std::end(seen), false);
    field.clear();
    return true;
  }
  bool key(string_t &name) override {
    if (depth == 1) {
      metadata = name == "__metadata__";
      if (!names.insert(name).second)
        fail(MOE_INVALID_ARGUMENT, ".safetensors file " + quote(file) +
                                       " names " + quote(name) + " twice");
      if (!metadata) {
        entries.emplace_back();
        entries.back().name = name;
      }
      return true;
    }
    if (metadata)
      return true;
    int index = name == "dtype"          ? 0
                : name == "shape"        ? 1
                : name == "data_offsets" ? 2
                                         : -1;
    if (index < 0 || seen[index])
      fail(MOE_INVALID_ARGUMENT, what() +
                                     (index < 0 ? " has the unknown entry "
                                                : " has more than one entry ") +
                                     quote(name));
    field = name;
    return true;
  }
  bool end_object() override {
    if (depth-- == 2 && !metadata && !(seen[0] && seen[1] && seen[2]))
      fail(MOE_INVALID_ARGUMENT,
           what() + " lacks 'dtype', 'shape' or 'data_offsets'");
    return true;
  }
  bool start_array(std::size_t) override {
    if (metadata || depth != 2 || inArray ||
        (field != "shape" && field != "data_offsets"))
      bad("an array");
    inArray = true;
    numbers.clear();
    return true;
  }
  bool end_array() override {
    inArray = false;
    SafetensorsReader::Entry &entry = entries.back();
    if (field == "shape") {
      entry.shape.rank = static_cast<uint32_t>(numbers.size());
      std::copy(numbers.begin(), numbers.end(), entry.shape.shape);
      seen[1] = true;
      return true;
    }
    if (numbers.size() != 2)
      fail(MOE_INVALID_ARGUMENT,
           what() + " has data_offsets that are not two numbers");
    entry.begin = static_cast<uint64_t>(numbers[0]);
    entry.end = static_cast<uint64_t>(numbers[1]);
    seen[2] = true;
    return true;
  }
  bool parse_error(std::size_t position, const std::string &,
                   const nlohmann::detail::exception &) override {
    fail(MOE_INVALID_ARGUMENT,
         ".safetensors file " + quote(file) +
             format(" has a header that is no valid JSON at its byte %zu",
                    position));
  }

private:
  std::string what() const {
    return "tensor " + quote(entries.empty() ? "" : entries.back().name) +
           " in " + quote(file);
  }
  [[noreturn]] void bad(const std::string &found) {
    fail(MOE_INVALID_ARGUMENT,
         ".safetensors file " + quote(file) + " has " + found +
             " in its header where none may stand" +
             (entries.empty() ? std::string()
                              : ", at tensor " + quote(entries.back().name)));
  }

  std::vector<SafetensorsReader::Entry> &entries;
  const std::string &file;
  std::set<std::string> names;
  std::string field;
  std::vector<int64_t> numbers;
  bool seen[3] = {}; ///< dtype, shape, data_offsets of the current tensor
  bool inArray = false, metadata = false;
  int depth = 0;
};

} // namespace moe::runtime

/// Whether brackets nest deeper than any valid header's.
static bool nestsTooDeep(const std::string &text) {
  int depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      if (++depth > deepest)
        return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

SafetensorsReader::SafetensorsReader(const std::string &path) : file(path) {
  auto bad = [&](const std::string &why) {
    fail(MOE_INVALID_ARGUMENT, ".safetensors file " + quote(path) + " " + why);
  };
  if (file.size() < 8)
    bad(format("has %llu bytes, expected at least 8",
               static_cast<unsigned long long>(file.size())));
  uint64_t length = 0;
  file.read(&length, sizeof(length), 0);
  if (length > file.size() - 8 || length > longestHeader)
    bad(format("says its header has %llu bytes, the file has %llu",
               static_cast<unsigned long long>(length),
               static_cast<unsigned long long>(file.size())));
  std::string header(static_cast<size_t>(length), '\0');
  file.read(&header[0], length, 8);
  if (header.empty() || header[0] != '{')
    bad("has a header that does not start with '{'");
  if (nestsTooDeep(header))
    bad("has a header nested deeper than the format allows");
  dataStart = 8 + length;
  parse(header, file.size() - dataStart);
}

void SafetensorsReader::parse(const std::string &header, uint64_t dataSize) {
  HeaderHandler handler(entries, file.path());
  nlohmann::json::sax_parse(header, &handler);

  std::vector<const Entry *> order;
  for (const Entry &entry : entries) {
    std::string what =
        "tensor " + quote(entry.name) + " in " + quote(file.path());
    if (entry.begin > entry.end || entry.end > dataSize)
      fail(MOE_INVALID_ARGUMENT,
           what + format(" lies at bytes %llu to %llu, the file has %llu bytes "
                         "of data",
                         static_cast<unsigned long long>(entry.begin),
                         static_cast<unsigned long long>(entry.end),
                         static_cast<unsigned long long>(dataSize)));
    int64_t bytes = countBytes(entry.shape.element_type, entry.shape.shape,
                               entry.shape.rank);
    if (bytes < 0 || static_cast<uint64_t>(bytes) != entry.end - entry.begin)
      fail(MOE_INVALID_ARGUMENT,
           what + " has " + std::to_string(entry.end - entry.begin) +
               " bytes, its shape " +
               shapeText(entry.shape.shape, entry.shape.rank) + " needs " +
               (bytes < 0 ? "more than 64 bits can count"
                          : std::to_string(bytes)));
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const Entry *a, const Entry *b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  uint64_t end = 0;
  for (const Entry *entry : order) {
    if (entry->begin != end)
      fail(MOE_INVALID_ARGUMENT,
           "tensor " + quote(entry->name) + " in " + quote(file.path()) +
               (entry->begin < end ? " overlaps the tensor before it"
                                   : " has a gap before it"));
    end = entry->end;
  }
  if (end != dataSize)
    fail(MOE_INVALID_ARGUMENT,
         ".safetensors file " + quote(file.path()) +
             format(" has %llu bytes that belong to no tensor",
                    static_cast<unsigned long long>(dataSize - end)));
}

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> result;
  for (const Entry &entry : entries)
    result.push_back(entry.name);
  return result;
}

Tensor SafetensorsReader::read(const std::string &name) const {
  for (const Entry &entry : entries) {
    if (entry.name != name)
      continue;
    Tensor tensor;
    tensor.name = name;
    tensor.view = entry.shape;
    uint64_t bytes = entry.end - entry.begin;
    tensor.memory = allocate(static_cast<size_t>(bytes));
    tensor.view.data = tensor.memory.get();
    file.read(tensor.view.data, bytes, dataStart + entry.begin);
    checkBools(tensor.view,
               "tensor " + quote(name) + " in " + quote(file.path()));
    return tensor;
  }
  std::vector<std::string> present;
  for (const Entry &entry : entries)
    present.push_back(quote(entry.name));
  fail(MOE_INVALID_ARGUMENT, "no tensor " + quote(name) + " in " +
                                 quote(file.path()) + ", which has " +
                                 listText(present));
}

void moe::runtime::writeSafetensors(OutputFile &file,
                                    const std::vector<Tensor> &tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t offset = 0;
  auto bytesOf = [](const Tensor &tensor) {
    return static_cast<uint64_t>(countBytes(
        tensor.view.element_type, tensor.view.shape, tensor.view.rank));
  };
  for (const Tensor &tensor : tensors) {
    const moe_tensor &view = tensor.view;
    header[tensor.name] = {
        {"dtype", elementType(view.element_type)->safetensors},
        {"shape", std::vector<int64_t>(view.shape, view.shape + view.rank)},
        {"data_offsets", {offset, offset + bytesOf(tensor)}}};
    offset += bytesOf(tensor);
  }
  std::string text = header.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  uint64_t length = text.size();
  file.write(&length, sizeof(length));
  file.write(text.data(), text.size());
  for (const Tensor &tensor : tensors)
    file.write(tensor.view.data, bytesOf(tensor));
}
