#!/usr/bin/env bash
# Brings a Debian 12 machine and this tree to the point where everything is built: installs the packages
# that are missing (only those), configures build/ and compiles. demo.sh and test.sh begin with it.
#   scripts/setup.sh [CMAKE_OPTION...]     for example -DMOE_SANITIZE=address,undefined
# BUILD=FOLDER builds somewhere else than in build/; JOBS=N limits the parallel compilations.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${BUILD:-$root/build}
jobs=${JOBS:-$(nproc)}

# Everything comes from Debian 12 itself ("bookworm" and "bookworm-security", section main).
packages=(
  ca-certificates
  clang-22 lld-22 libomp-22-dev                          # compiles the compiler, links the programs
  llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools # LLVM and MLIR; FileCheck and lit for the tests
  zlib1g-dev libxml2-dev                                 # LLVM's CMake files ask for them
  cmake ninja-build ccache
  nlohmann-json3-dev                                     # JSON in the runtime, which uses no LLVM
  python3 python3-numpy                                  # tests, and the demonstration's characters
)
[[ $* == *-DMOE_SANITIZE=* ]] && packages+=(libclang-rt-22-dev)

say() { printf '== %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -n 's/^ii  *//p')
  for package in "${packages[@]}"; do
    grep -qx "$package" <<<"$installed" || printf '%s\n' "$package"
  done
}

install_missing() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    fail "this is not a Debian system, so nothing was installed" \
      "install the counterparts of: ${packages[*]}" "then run cmake and ninja as the README says"
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "packages are missing and only root can install them; as root, run:" \
        "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  # A list that is out of date names files the mirror no longer has, so it is fetched first.
  if ! "${as_root[@]}" apt-get update -qq >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "'apt-get update' failed; is there a network, and a mirror in /etc/apt?"
  fi
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >"$log" 2>&1; then
    tail -n 10 "$log" >&2
    fail "'apt-get install' failed (log: $log)" \
      "LLVM 22 comes from Debian 12's security archive: /etc/apt needs 'bookworm-security main'"
  fi
  rm -f "$log"
}

configure() {
  # The compiler and the linker are named, since machines have others under the plain names.
  local options=(-G Ninja -S "$root" -B "$build" -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22
    -DCMAKE_BUILD_TYPE=Release -DLLVM_USE_LINKER=lld "$@")
  local stamp="$build/.configured-with"
  if [ -f "$build/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "${options[*]}" ]; then
    return 0 # ninja itself runs cmake again when a CMake file changed
  fi
  say "configuring $build"
  mkdir -p "$build"
  if ! cmake "${options[@]}" >"$build/configure.log" 2>&1; then
    tail -n 25 "$build/configure.log" >&2
    fail "cmake failed (log: $build/configure.log)"
  fi
  printf '%s\n' "${options[*]}" >"$stamp"
}

compile() {
  # Another clone of the same sources finds its objects in the cache.
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=1
  local quiet=()
  [ -t 1 ] || quiet=(--quiet)
  say "building with $jobs jobs"
  local begin=$SECONDS
  ninja -C "$build" -j "$jobs" "${quiet[@]}" || fail "the build failed, see above"
  say "built in $((SECONDS - begin)) s"
}

install_missing
configure "$@"
compile
