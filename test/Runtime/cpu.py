"""The program compiled for a CPU that does not exist explains itself, and runs none of its code."""
from fake import *

program = Program(sys.argv[1], sys.argv[2])
result = program.run("--tokens", program.ids([1]), "--generate", 1)
program.expect(result.returncode == 1 and not result.stdout, result)
# No CPU has both AMD's fma4 and Intel's amx-tile; sse2 is everywhere and must not be named.
program.expect("error: this CPU lacks " in result.stderr and "--cpu=fake-cpu" in result.stderr, result)
program.expect("sse2" not in result.stderr and result.stderr.count("\n") == 1, result)
program.expect(program.run("--help").returncode == 0, "--help runs anywhere")
program.expect("fma4" in program.run("--version").stdout, "--version runs anywhere")
program.done()
