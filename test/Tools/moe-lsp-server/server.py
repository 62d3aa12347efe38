"""Talks to the language server as an editor does: good documents, broken ones, and ones nested to overflow its stack.

server.py SERVER
"""
import json
import subprocess
import sys

LAYER = """func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}
"""


class Editor:
    def __init__(self, server):
        self.process = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.number = 0

    def send(self, message):
        body = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self):
        size = None
        while True:
            line = self.process.stdout.readline().strip()
            if not line:
                break
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                size = int(value)
        if size is None:
            sys.exit(f"the server ended with status {self.process.wait()}")
        return json.loads(self.process.stdout.read(size))

    def request(self, method, parameters):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": parameters})
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                return answer["result"]

    def diagnostics(self, method, document, **more):
        """The messages that the server has for the document after a notification."""
        self.send({"method": "textDocument/" + method, "params": {"textDocument": document, **more}})
        while True:
            answer = self.receive()
            if answer.get("method") == "textDocument/publishDiagnostics":
                assert answer["params"]["uri"] == document["uri"], answer
                return [diagnostic["message"] for diagnostic in answer["params"]["diagnostics"]]

    def open(self, name, text):
        return self.diagnostics("didOpen", {"uri": f"file:///{name}.mlir", "languageId": "mlir", "version": 1, "text": text})

    def change(self, name, version, *changes):
        document = {"uri": f"file:///{name}.mlir", "version": version}
        return self.diagnostics("didChange", document, contentChanges=list(changes))


def expect(got, part):
    """The first message has that part; without a part there is none."""
    if (part is None and got) or (part is not None and (not got or part not in got[0])):
        sys.exit(f"expected {part!r} in the first message, got {got}")


def main():
    editor = Editor(sys.argv[1])
    capabilities = editor.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}})["capabilities"]
    assert capabilities["hoverProvider"], capabilities

    expect(editor.open("good", LAYER), None)
    expect(editor.open("broken", LAYER.replace("tensor<?x8xf32> {", "tensor<?x7xf32> {")), "type")
    expect(editor.open("deep", "builtin.module {" * 100000), "brackets nested deeper than 256")
    types = "func.func private @f(%x: " + "tuple<" * 50000 + "i1" + ">" * 50000 + ")"
    expect(editor.open("types", types), "brackets nested deeper than 256")
    bad = "func.func @g(%w: tensor<4xf32>) {\n  %b = moe.make_bank %w : tensor<4xf32> -> !moe.bank<tensor<4xf16>>\n  return\n}\n"
    expect(editor.open("ours", bad), "moe.make_bank")

    # A good document gets a deep part, then loses it again: the server has the editor's text each time.
    start = {"line": 1, "character": 2}
    deep = "(" * 300
    expect(editor.change("good", 2, {"range": {"start": start, "end": start}, "text": deep}), "nested deeper than 256")
    end = {"line": 1, "character": 2 + len(deep)}
    expect(editor.change("good", 3, {"range": {"start": start, "end": end}, "text": ""}), None)
    hover = editor.request("textDocument/hover", {"textDocument": {"uri": "file:///good.mlir"}, "position": {"line": 1, "character": 3}})
    assert "func.return" in json.dumps(hover), hover

    # What is no message does not end the server.
    editor.send(b"[" * 100000)
    editor.send(b"{ no JSON")
    editor.send({"method": "textDocument/didOpen", "params": {"textDocument": 5}})
    expect(editor.open("again", LAYER), None)
    editor.request("shutdown", None)
    editor.send({"method": "exit"})
    status = editor.process.wait(30)
    assert status == 0, f"status {status}"
    print("the server survived")


if __name__ == "__main__":
    main()
