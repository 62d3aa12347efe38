// RUN: not moe-opt %s --pass-pipeline='builtin.module(func.func(moe-cpu-vectorize{accumulators=0}))' 2>&1 | FileCheck %s

// CHECK: error: expected a positive number of 'accumulators', got 0
func.func @nothing() {
  return
}
