// RUN: moe-opt %s -moe-cpu-workspace | FileCheck %s

// Tests that a function whose memory nobody needs afterwards gives it back.
// CHECK-LABEL: func.func private @inside(
// CHECK-NEXT: %[[MARK:.*]] = call @moe_workspace_mark() : () -> i64
// CHECK: memref.alloc
// CHECK: call @moe_workspace_release(%[[MARK]]) : (i64) -> ()
// CHECK-NEXT: return
func.func private @inside(%x: memref<8xf32>, %v: f32) -> memref<8xf32> {
  %c0 = arith.constant 0 : index
  %a = memref.alloc() : memref<8xf32>
  memref.store %v, %a[%c0] : memref<8xf32>
  return %x : memref<8xf32>
}

// Tests that results that lie in the workspace are not given back.
// CHECK-LABEL: func.func @result(
// CHECK-NOT: moe_workspace
// CHECK: return
func.func @result() -> memref<8xf32> {
  %a = memref.alloc() : memref<8xf32>
  return %a : memref<8xf32>
}

// Tests that each round of a serial loop gives back what it allocated.
// CHECK-LABEL: func.func @round(
// CHECK: scf.for
// CHECK-NEXT: %[[MARK:.*]] = func.call @moe_workspace_mark()
// CHECK: memref.alloc
// CHECK: func.call @moe_workspace_release(%[[MARK]])
// CHECK-NEXT: }
// CHECK: return
func.func @round(%n: index, %v: f32) -> memref<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = memref.alloc() : memref<8xf32>
  scf.for %i = %c0 to %n step %c1 {
    %a = memref.alloc() : memref<8xf32>
    memref.store %v, %a[%c0] : memref<8xf32>
  }
  return %r : memref<8xf32>
}
