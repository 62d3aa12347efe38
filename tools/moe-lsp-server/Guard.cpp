//===- Guard.cpp - Between an editor and the language server --------------===//
//
// A thread that reads messages from the editor, keeps the text of each open document, and hands the messages on
// through a pipe.
//
//===----------------------------------------------------------------------===//

#include "Guard.h"

#include "moe/Import/Text.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/LSP/Protocol.h"
#include "llvm/Support/LSP/Transport.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstdio>
#include <thread>
#include <unistd.h>

using namespace mlir::moe;
namespace lsp = llvm::lsp;
namespace json = llvm::json;

/// What stands in place of a document that is refused: the server reports its only line as an error.
static std::string makeRefusal(llvm::Error error) {
  std::string why = llvm::toString(std::move(error));
  return "\"moe.refused: " + why + "\"() : () -> ()\n";
}

namespace {
class Guard {
public:
  Guard(std::FILE *in, int out, bool delimited)
      : input(in, delimited ? lsp::JSONStreamStyle::Delimited : lsp::JSONStreamStyle::Standard),
        output(out, /*shouldClose=*/true), delimited(delimited) {}

  void run() {
    std::string text;
    while (!input.isEndOfInput() && !input.hasError())
      if (llvm::succeeded(input.readMessage(text)))
        handle(text);
  }

private:
  void handle(llvm::StringRef text) {
    if (llvm::Error error = scanNesting(text, TextKind::json)) {
      llvm::errs() << "moe-lsp-server: dropped a message: " << llvm::toString(std::move(error)) << '\n';
      return;
    }
    llvm::Expected<json::Value> message = json::parse(text);
    if (!message) {
      // The server reports what is no JSON.
      llvm::consumeError(message.takeError());
      return send(text);
    }
    json::Object *object = message->getAsObject();
    json::Object *parameters = object ? object->getObject("params") : nullptr;
    json::Object *document = parameters ? parameters->getObject("textDocument") : nullptr;
    std::optional<llvm::StringRef> method = object ? object->getString("method") : std::nullopt;
    if (!document || !method || (*method != "textDocument/didOpen" && *method != "textDocument/didChange"))
      return send(text);
    std::string &content = documents[document->getString("uri").value_or("")];
    if (*method == "textDocument/didOpen") {
      content = document->getString("text").value_or("").str();
      (*document)["text"] = getSafe(content);
    } else {
      if (!applyChanges(*parameters, content))
        return send(text);
      // The server gets whole documents, so that it never has another one than the one that was scanned.
      (*parameters)["contentChanges"] = json::Array{json::Object{{"text", getSafe(content)}}};
    }
    send(llvm::formatv("{0}", *message).str());
  }

  bool applyChanges(const json::Object &parameters, std::string &content) {
    std::vector<lsp::TextDocumentContentChangeEvent> changes;
    json::Path::Root root;
    const json::Value *list = parameters.get("contentChanges");
    return list && json::fromJSON(*list, changes, root) &&
           llvm::succeeded(lsp::TextDocumentContentChangeEvent::applyTo(changes, content));
  }

  std::string getSafe(const std::string &content) {
    llvm::Error error = scanNesting(content, TextKind::mlir);
    return error ? makeRefusal(std::move(error)) : content;
  }

  void send(llvm::StringRef text) {
    if (delimited)
      output << text << "\n// -----\n";
    else
      output << "Content-Length: " << text.size() << "\r\n\r\n" << text;
    output.flush();
  }

  lsp::JSONTransportInputOverFile input;
  llvm::raw_fd_ostream output;
  bool delimited;
  llvm::StringMap<std::string> documents;
};
} // namespace

llvm::Error guardStandardInput(bool delimited) {
  int ends[2], editor = dup(STDIN_FILENO);
  std::FILE *in = editor < 0 ? nullptr : fdopen(editor, "rb");
  if (!in || pipe(ends) || dup2(ends[0], STDIN_FILENO) < 0)
    return llvm::createStringError("cannot guard standard input: " + llvm::Twine(strerror(errno)));
  close(ends[0]);
  // The server may end before the editor does.
  std::signal(SIGPIPE, SIG_IGN);
  std::thread([=] { Guard(in, ends[1], delimited).run(); }).detach();
  return llvm::Error::success();
}
