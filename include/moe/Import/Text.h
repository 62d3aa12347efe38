//===- Text.h - Guards for text that comes from outside ---------*- C++ -*-===//
//
// What stands between a hostile file and a recursive parser: size, nesting,
// repeated keys.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_TEXT_H
#define MOE_IMPORT_TEXT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <string>

namespace mlir::moe {

enum class TextKind { json, mlir };

/// Brackets that JSON and IR may be nested in. Parsers need about a kilobyte of
/// stack for each.
constexpr unsigned kMaxNesting = 256;

/// Fails if brackets in `text`, outside strings and comments, are nested deeper
/// than `limit`, or if one expression chains so many operators that a recursive
/// parser would overflow its stack.
llvm::Error scanNesting(llvm::StringRef text, TextKind kind,
                        unsigned limit = kMaxNesting);

/// An error with one line of text.
llvm::Error makeError(const llvm::Twine &message);

/// `text` in single quotes, fit for one line of a terminal: cut if long,
/// unprintable bytes as \xNN.
std::string quoted(llvm::StringRef text);

/// Reads a regular file of at most `limit` bytes.
llvm::Expected<std::string> readFile(const llvm::Twine &path, uint64_t limit);

/// Scans and parses JSON; a key that stands twice in one object is an error.
/// `name` begins error messages.
llvm::Expected<llvm::json::Value> parseJSON(llvm::StringRef text,
                                            llvm::StringRef name);

} // namespace mlir::moe

#endif // MOE_IMPORT_TEXT_H
