#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests. The last line counts them.
#   scripts/test.sh [--roundtrip] [--sanitize] [FILTER]
#     --roundtrip   moe-opt also prints and parses again whatever it reads (--verify-roundtrip)
#     --sanitize    builds in build-sanitize/ with the address and undefined-behaviour sanitizers
#     FILTER        a regular expression: only the tests whose name matches
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export BUILD=${BUILD:-$root/build}
cmake_options=() lit_options=()
for argument in "$@"; do
  case $argument in
  --roundtrip) lit_options+=(--param roundtrip=1) ;;
  --sanitize)
    BUILD=$root/build-sanitize
    cmake_options+=(-DMOE_SANITIZE=address,undefined)
    ;;
  -h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  -*)
    echo "test.sh: unknown option '$argument', expected --roundtrip, --sanitize or a regular expression" >&2
    exit 2
    ;;
  *) lit_options+=(--filter "$argument") ;;
  esac
done

"$root/scripts/setup.sh" "${cmake_options[@]}"
echo "== testing"
exec /usr/bin/python3 "$root/scripts/run-tests.py" "$BUILD/test" --workers "${JOBS:-$(nproc)}" "${lit_options[@]}"
