#!/usr/bin/env bash
# Installs what is missing, builds, compiles the example checkpoint and lets the program solve a sum.
#   scripts/demo.sh [PROMPT]     the prompt's characters must be in the example's vocabulary; default 37+45=
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export BUILD=${BUILD:-$root/build}
case ${1:-} in
-h | --help)
  sed -n '2,3s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
"$root/scripts/setup.sh"
exec /usr/bin/python3 "$root/scripts/demo.py" "$root/test/Models/sums" "$BUILD" "${1:-37+45=}"
