//===- Text.cpp - Guards for text that comes from outside -----------------===//
//
// Scans that run in constant stack before any recursive parser sees the text.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Errno.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir::moe;
using llvm::StringRef;
using llvm::Twine;

llvm::Error mlir::moe::makeError(const Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 message.str().c_str());
}

std::string mlir::moe::quoted(StringRef text) {
  constexpr size_t kMaxShown = 120;
  std::string result = "'";
  for (unsigned char c : text.take_front(kMaxShown)) {
    if (c >= 0x20 && c < 0x7f) {
      result += c;
    } else {
      result += "\\x";
      result += llvm::hexdigit(c >> 4, /*LowerCase=*/true);
      result += llvm::hexdigit(c & 15, /*LowerCase=*/true);
    }
  }
  return result + (text.size() > kMaxShown ? "...'" : "'");
}

llvm::Expected<std::string> mlir::moe::readFile(const Twine &path,
                                                uint64_t limit) {
  std::string name = path.str();
  // Not blocking: a pipe in place of a file must not hang the compiler.
  int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return makeError(name + ": cannot open: " + llvm::sys::StrError(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat status;
  if (::fstat(fd, &status) != 0)
    return makeError(name + ": cannot read: " + llvm::sys::StrError(errno));
  if (!S_ISREG(status.st_mode))
    return makeError(name + ": expected a regular file");
  if (static_cast<uint64_t>(status.st_size) > limit)
    return makeError(name + ": expected at most " + Twine(limit) +
                     " bytes, got " + Twine(status.st_size));
  std::string text(status.st_size, '\0');
  for (size_t done = 0; done < text.size();) {
    ssize_t count = ::read(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return makeError(name + ": cannot read: " + llvm::sys::StrError(errno));
    if (count == 0)
      return makeError(name + ": expected " + Twine(text.size()) +
                       " bytes, got " + Twine(done));
    done += count;
  }
  return text;
}

//===----------------------------------------------------------------------===//
// Nesting
//===----------------------------------------------------------------------===//

namespace {

/// Operators that one expression may chain. MLIR's parser of affine expressions
/// recurses on each.
constexpr unsigned kMaxOperators = 4096;

/// Walks over brackets and, in IR, over operators; keeps the open brackets, at
/// most `limit` of them.
class NestingScanner {
public:
  NestingScanner(StringRef text, TextKind kind, unsigned limit)
      : text(text), kind(kind), limit(limit) {}

  llvm::Error scan() {
    while (position < text.size()) {
      char c = text[position];
      if (c == '"') {
        skipString();
        continue;
      }
      if (kind == TextKind::mlir && c == '/' && peek(1) == '/') {
        size_t end = text.find('\n', position);
        position = end == StringRef::npos ? text.size() : end;
        continue;
      }
      if (kind == TextKind::mlir && (llvm::isAlpha(c) || c == '_')) {
        if (llvm::Error error = scanWord())
          return error;
        continue;
      }
      if (llvm::Error error = scanCharacter(c))
        return error;
      ++position;
    }
    return llvm::Error::success();
  }

private:
  char peek(size_t distance) const {
    return position + distance < text.size() ? text[position + distance] : '\0';
  }

  void skipString() {
    for (++position; position < text.size() && text[position] != '"';
         ++position)
      if (text[position] == '\\')
        ++position;
    ++position;
  }

  llvm::Error scanWord() {
    size_t begin = position;
    while (position < text.size() &&
           (llvm::isAlnum(text[position]) || text[position] == '_'))
      ++position;
    StringRef word = text.slice(begin, position);
    if (word == "mod" || word == "floordiv" || word == "ceildiv")
      return countOperator();
    return llvm::Error::success();
  }

  llvm::Error scanCharacter(char c) {
    switch (c) {
    case '[':
    case '{':
    case '(':
      return open(c);
    case ']':
      close('[');
      break;
    case '}':
      close('{');
      break;
    case ')':
      close('(');
      break;
    case ',':
      operators = 0;
      break;
    default:
      return kind == TextKind::mlir ? scanOperator(c) : llvm::Error::success();
    }
    return llvm::Error::success();
  }

  llvm::Error scanOperator(char c) {
    switch (c) {
    case '<':
      return peek(1) == '=' ? llvm::Error::success() : open(c);
    case '>':
      if (peek(1) != '=')
        close('<');
      break;
    case '-':
      if (peek(1) != '>')
        return countOperator();
      ++position; // an arrow
      break;
    case '+':
    case '*':
      return countOperator();
    case '=':
    case '%':
      operators = 0;
      break;
    default:
      break;
    }
    return llvm::Error::success();
  }

  llvm::Error open(char c) {
    if (stack.size() == limit)
      return fail("brackets nested deeper than " + Twine(limit));
    stack.push_back(c);
    if (c == '{')
      operators = 0;
    return llvm::Error::success();
  }

  /// A closing bracket closes what was left open inside it as well: '<' may be
  /// an operator in a dialect's syntax.
  void close(char c) {
    auto *match = llvm::find(llvm::reverse(stack), c).base();
    if (match == stack.begin())
      return; // never opened: the parser will say so
    if (c == '<' && stack.back() != '<')
      return; // an operator
    stack.erase(match - 1, stack.end());
  }

  llvm::Error countOperator() {
    if (++operators > kMaxOperators)
      return fail("more than " + Twine(kMaxOperators) +
                  " operators in one expression");
    return llvm::Error::success();
  }

  llvm::Error fail(const Twine &what) const {
    size_t line = text.take_front(position).count('\n') + 1;
    return makeError("line " + Twine(line) + ": " + what);
  }

  StringRef text;
  TextKind kind;
  unsigned limit;
  size_t position = 0;
  llvm::SmallVector<char> stack;
  unsigned operators = 0;
};

/// Finds a key that stands twice in one object. The text has passed the nesting
/// scan and the parser.
class DuplicateKeyFinder {
public:
  static llvm::Error check(StringRef text, StringRef name) {
    std::vector<llvm::StringSet<>>
        objects; // keys of the open objects; an empty set for an array
    for (size_t position = 0; position < text.size(); ++position) {
      char c = text[position];
      if (c == '{' || c == '[')
        objects.emplace_back();
      else if (c == '}' || c == ']')
        objects.pop_back();
      if (c != '"')
        continue;
      size_t end = position + 1;
      while (text[end] != '"')
        end += text[end] == '\\' ? 2 : 1;
      StringRef raw = text.slice(position, end + 1);
      position = end;
      if (!text.drop_front(end + 1).ltrim(" \t\r\n").starts_with(":"))
        continue;
      std::string key = unescape(raw);
      if (!objects.back().insert(key).second)
        return makeError(name + ": key " + quoted(key) +
                         " stands twice in one object");
    }
    return llvm::Error::success();
  }

private:
  static std::string unescape(StringRef raw) {
    if (!raw.contains('\\'))
      return raw.drop_front().drop_back().str();
    llvm::Expected<llvm::json::Value> value = llvm::json::parse(raw);
    if (value)
      return value->getAsString().value_or("").str();
    llvm::consumeError(value.takeError());
    return raw.str();
  }
};

} // namespace

llvm::Error mlir::moe::scanNesting(StringRef text, TextKind kind,
                                   unsigned limit) {
  return NestingScanner(text, kind, limit).scan();
}

llvm::Expected<llvm::json::Value> mlir::moe::parseJSON(StringRef text,
                                                       StringRef name) {
  if (llvm::Error error = scanNesting(text, TextKind::json))
    return makeError(name + ": " + llvm::toString(std::move(error)));
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return makeError(name +
                     ": expected JSON: " + llvm::toString(value.takeError()));
  if (llvm::Error error = DuplicateKeyFinder::check(text, name))
    return std::move(error);
  return value;
}
