//===- Checkpoint.cpp - The tensors of a model ----------------------------===//
//
// One safetensors file, or the shards of a Hugging Face folder; the reader that
// recipes are executed with.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors.h"
#include "moe/Import/Text.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using llvm::Twine;

namespace {

constexpr uint64_t kMaxIndexBytes = 100'000'000;
/// Every shard is an open file.
constexpr size_t kMaxShards = 900;

std::string inFolder(StringRef folder, StringRef file) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, file);
  return path.str().str();
}

/// Shards are plain files of the folder: no way out of it, and no longer than
/// names of files are.
bool isShardName(StringRef name) {
  return name.ends_with(".safetensors") && !name.starts_with(".") &&
         name.size() <= 255 &&
         llvm::all_of(name, [](char c) {
           return llvm::isPrint(c) && c != '/' && c != '\\';
         });
}

std::string toText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

} // namespace

llvm::Expected<std::unique_ptr<Checkpoint>>
Checkpoint::openFile(StringRef path) {
  llvm::Expected<std::unique_ptr<SafetensorsFile>> file =
      SafetensorsFile::open(path);
  if (!file)
    return file.takeError();
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(path));
  for (const auto &tensor : (*file)->getTensors())
    checkpoint->entries.try_emplace(tensor.getKey(),
                                    Entry{file->get(), &tensor.getValue()});
  checkpoint->files.push_back(std::move(*file));
  return checkpoint;
}

llvm::Expected<std::unique_ptr<Checkpoint>>
Checkpoint::openFolder(StringRef folder) {
  std::string single = inFolder(folder, "model.safetensors");
  if (llvm::sys::fs::exists(single))
    return openFile(single);
  std::string index = inFolder(folder, "model.safetensors.index.json");
  if (!llvm::sys::fs::exists(index))
    return makeError(folder + ": expected model.safetensors or "
                              "model.safetensors.index.json in the folder");
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(folder));
  if (llvm::Error error = checkpoint->openShards(folder, index))
    return std::move(error);
  return checkpoint;
}

llvm::Error Checkpoint::openShards(StringRef folder, StringRef indexPath) {
  llvm::Expected<std::string> text = readFile(indexPath, kMaxIndexBytes);
  if (!text)
    return text.takeError();
  llvm::Expected<llvm::json::Value> index = parseJSON(*text, indexPath);
  if (!index)
    return index.takeError();
  const llvm::json::Object *object = index->getAsObject();
  const llvm::json::Object *map =
      object ? object->getObject("weight_map") : nullptr;
  if (!map)
    return makeError(
        indexPath +
        ": expected an object 'weight_map' from tensor names to shards");
  if (map->empty())
    return makeError(indexPath +
                     ": expected tensors in 'weight_map', got none");

  llvm::StringMap<const SafetensorsFile *> shards;
  for (const auto &[key, value] : *map) {
    StringRef name = key;
    std::optional<StringRef> shard = value.getAsString();
    if (!shard || !isShardName(*shard))
      return makeError(indexPath + ": tensor " + quoted(name) +
                       ": expected the name of a .safetensors file in the same "
                       "folder, got " +
                       (shard ? quoted(*shard) : std::string("no text")));
    const SafetensorsFile *&file = shards[*shard];
    if (!file) {
      if (files.size() == kMaxShards)
        return makeError(indexPath + ": expected at most " + Twine(kMaxShards) +
                         " shards");
      llvm::Expected<std::unique_ptr<SafetensorsFile>> opened =
          SafetensorsFile::open(inFolder(folder, *shard));
      if (!opened)
        return opened.takeError();
      file = opened->get();
      files.push_back(std::move(*opened));
    }
    auto tensor = file->getTensors().find(name);
    if (tensor == file->getTensors().end())
      return makeError(file->getPath() + ": no tensor " + quoted(name) +
                       ", which the index places here");
    entries.try_emplace(name, Entry{file, &tensor->getValue()});
  }
  return llvm::Error::success();
}

const StoredTensor *Checkpoint::lookup(StringRef name) const {
  auto entry = entries.find(name);
  return entry == entries.end() ? nullptr : entry->getValue().tensor;
}

std::vector<StringRef> Checkpoint::getNames() const {
  std::vector<StringRef> names(entries.keys().begin(), entries.keys().end());
  llvm::sort(names);
  return names;
}

llvm::Error Checkpoint::read(StringRef name, RankedTensorType type,
                             uint64_t offset,
                             llvm::MutableArrayRef<char> bytes) {
  auto entry = entries.find(name);
  if (entry == entries.end())
    return makeError(path + ": no tensor " + quoted(name) +
                     ", which the program needs");
  const auto &[file, tensor] = entry->getValue();
  RankedTensorType stored = tensor->getType(type.getContext());
  if (stored != type)
    return makeError(file->getPath() + ": tensor " + quoted(name) +
                     ": expected " + toText(type) + ", got " + toText(stored));
  return file->read(*tensor, offset, bytes);
}
