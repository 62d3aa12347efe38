// RUN: not moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul{force-class=huge}))" 2>&1 | FileCheck %s
// RUN: not moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul{max-item-rows=-1}))" 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul{block-size=-16}))" 2>&1 | FileCheck %s --check-prefix=BLOCK

// Tests that options say what they accept.

// CHECK: error: expected 'force-class' to be one of single, few, full, got 'huge'
// ROWS: error: expected 'max-item-rows' to be 0 to 4096, got -1
// BLOCK: error: expected 'block-size' to be 0 to 4096, got -16
func.func @empty() {
  return
}
