"""Runs a tool on a pipe and sends it a segmentation fault once it has opened its input.

usage: crash.py TOOL PIPE OPTION...     PIPE is made, and removed at the end
"""

import os
import signal
import subprocess
import sys

tool, pipe, *options = sys.argv[1:]
os.mkfifo(pipe)
signal.alarm(300)  # opening the pipe waits for ever for a tool that does not
process = subprocess.Popen([tool, pipe, *options])
with open(pipe, "w"):
    process.send_signal(signal.SIGSEGV)
    status = process.wait()
os.remove(pipe)
print("status", status)
