// RUN: moe-opt %s --moe-fuse-gating=tile-size=0 --verify-diagnostics

// Tests that a tile of no tokens is refused.
// expected-error @below {{expected tile-size to be 1 or more, got 0}}
func.func @nothing() {
  return
}
