"""Compares the support table of README.md with the architectures that the importer names: support.py MOE_COMPILE SCRATCH README"""
import json
import os
import re
import subprocess
import sys

compiler, scratch, readme = sys.argv[1:]
os.makedirs(scratch, exist_ok=True)
with open(os.path.join(scratch, "config.json"), "w") as file:
    json.dump({"model_type": "none_of_them"}, file)
done = subprocess.run([compiler, scratch, "-o", os.path.join(scratch, "program")], capture_output=True, text=True)
known = re.search(r"expected one of (.+), got 'none_of_them'", done.stderr)
if not known:
    sys.exit(f"expected the compiler to name its architectures, got: {done.stderr}")
known = sorted(known.group(1).split(", "))
with open(readme) as file:
    section = file.read().split("## Support", 1)[1].split("\n## ", 1)[0]
listed = sorted(re.findall(r"^\| `(\w+)` \|", section, re.M))
if known != listed:
    sys.exit(f"the support table lists {listed}, the importer knows {known}")
print(f"{len(known)} architectures")
