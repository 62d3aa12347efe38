// RUN: moe-opt %s --moe-gpu-join-launches --split-input-file | FileCheck %s

// Tests that a selection and the product that only it reads join the plan that reads the ids, and that a norm does not, which
// others read too.
// CHECK-LABEL: func.func @router(
// CHECK:         %[[NORM:.+]] = memref.alloc(
// CHECK:         scf.parallel
// CHECK:           memref.store %{{.+}}, %[[NORM]][
// CHECK-NEXT:      scf.reduce
// CHECK-NEXT:    }{{$}}
// CHECK:         %[[LOGITS:.+]] = memref.alloc(
// CHECK:         scf.parallel
// CHECK:           memref.store %{{.+}}, %[[LOGITS]][
// CHECK:         } {launch.phase = array<i64: 3, 16>}
// CHECK:         %[[IDS:.+]] = memref.alloc(
// CHECK:         scf.parallel
// CHECK:           memref.store %{{.+}}, %[[IDS]][
// CHECK:         } {launch.phase = array<i64: 3, 16>}
// CHECK:         scf.parallel
// CHECK:           memref.load %[[IDS]]
// CHECK:         } {launch.phase = array<i64: 3, 16>}
// CHECK:         } {launch.phase = array<i64: 3, 0>}
// CHECK:         scf.parallel
// CHECK:           memref.load
// CHECK:         }{{$}}
func.func @router(%n: index, %x: memref<?x8xf32>, %w: memref<4x8xf32>, %rows: memref<?xi32>, %y: memref<?x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %norm = memref.alloc(%n) : memref<?x8xf32>
  scf.parallel (%t, %i) = (%c0, %c0) to (%n, %c8) step (%c1, %c1) {
    %a = memref.load %x[%t, %i] : memref<?x8xf32>
    memref.store %a, %norm[%t, %i] : memref<?x8xf32>
  }
  %logits = memref.alloc(%n) : memref<?x4xf32>
  scf.parallel (%t, %e) = (%c0, %c0) to (%n, %c4) step (%c1, %c1) {
    %a = memref.load %norm[%t, %c0] : memref<?x8xf32>
    %b = memref.load %w[%e, %c0] : memref<4x8xf32>
    %c = arith.mulf %a, %b : f32
    memref.store %c, %logits[%t, %e] : memref<?x4xf32>
  }
  %ids = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %own = memref.subview %logits[%t, 0] [1, 4] [1, 1] : memref<?x4xf32> to memref<1x4xf32, strided<[4, 1], offset: ?>>
    %scratch = memref.alloc() : memref<4xf32>
    %a = memref.load %own[%c0, %c1] : memref<1x4xf32, strided<[4, 1], offset: ?>>
    memref.store %a, %scratch[%c1] : memref<4xf32>
    %b = memref.load %scratch[%c1] : memref<4xf32>
    %id = arith.fptosi %b : f32 to i32
    memref.store %id, %ids[%t] : memref<?xi32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %ids[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 3, 16>}
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %rows[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 3, 0>}
  scf.parallel (%t, %i) = (%c0, %c0) to (%n, %c8) step (%c1, %c1) {
    %a = memref.load %norm[%t, %i] : memref<?x8xf32>
    memref.store %a, %y[%t, %i] : memref<?x8xf32>
  }
  return
}

// -----

// Tests that a selection that reads the row of another token stays apart: here the one before its own.
// CHECK-LABEL: func.func @coupled(
// CHECK:           memref.store
// CHECK:         }{{$}}
// CHECK:           memref.store
// CHECK:         }{{$}}
// CHECK:         } {launch.phase = array<i64: 0, 16>}
func.func @coupled(%n: index, %x: memref<?xi32>, %rows: memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %scores = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %a = memref.load %x[%t] : memref<?xi32>
    memref.store %a, %scores[%t] : memref<?xi32>
  }
  %ids = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %before = arith.subi %t, %c1 : index
    %place = arith.maxsi %before, %c0 : index
    %id = memref.load %scores[%place] : memref<?xi32>
    memref.store %id, %ids[%place] : memref<?xi32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %ids[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 0, 16>}
  return
}

// -----

// Tests that scores of neighbours are made by a launch of their own, while the selection that reads them joins.
// CHECK-LABEL: func.func @smoothed(
// CHECK:         %[[SCORES:.+]] = memref.alloc(
// CHECK:           memref.store %{{.+}}, %[[SCORES]][
// CHECK:         }{{$}}
// CHECK:           memref.load %[[SCORES]][
// CHECK:         } {launch.phase = array<i64: 0, 16>}
// CHECK:         } {launch.phase = array<i64: 0, 16>}
func.func @smoothed(%n: index, %x: memref<?xi32>, %rows: memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %scores = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %a = memref.load %x[%t] : memref<?xi32>
    memref.store %a, %scores[%t] : memref<?xi32>
  }
  %ids = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %before = arith.subi %t, %c1 : index
    %place = arith.maxsi %before, %c0 : index
    %id = memref.load %scores[%place] : memref<?xi32>
    memref.store %id, %ids[%t] : memref<?xi32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %ids[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 0, 16>}
  return
}

// -----

// Tests that weights made between selection and plan do not keep them apart: what reads the selection's results comes along.
// CHECK-LABEL: func.func @between(
// CHECK-COUNT-3: } {launch.phase = array<i64: 0, 16>}
func.func @between(%n: index, %x: memref<?xf32>, %weights: memref<?xf32>, %rows: memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %ids = memref.alloc(%n) : memref<?xi32>
  %raw = memref.alloc(%n) : memref<?xf32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %a = memref.load %x[%t] : memref<?xf32>
    %id = arith.fptosi %a : f32 to i32
    memref.store %id, %ids[%t] : memref<?xi32>
    memref.store %a, %raw[%t] : memref<?xf32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %a = memref.load %raw[%t] : memref<?xf32>
    memref.store %a, %weights[%t] : memref<?xf32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %ids[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 0, 16>}
  return
}

// -----

// Tests that a loop over other tokens, and one behind a call, stay as they are.
// CHECK-LABEL: func.func @others(
// CHECK:           memref.store
// CHECK:         }{{$}}
// CHECK:         call @record
// CHECK:           memref.store
// CHECK:         }{{$}}
// CHECK:         } {launch.phase = array<i64: 0, 16>}
func.func private @record(memref<?xi32>)
func.func @others(%n: index, %m: index, %x: memref<?xi32>, %rows: memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %ids = memref.alloc(%n) : memref<?xi32>
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %a = memref.load %x[%t] : memref<?xi32>
    memref.store %a, %ids[%t] : memref<?xi32>
  }
  call @record(%ids) : (memref<?xi32>) -> ()
  scf.parallel (%t) = (%c0) to (%m) step (%c1) {
    %a = memref.load %x[%t] : memref<?xi32>
    memref.store %a, %ids[%t] : memref<?xi32>
  }
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %id = memref.load %ids[%t] : memref<?xi32>
    memref.store %id, %rows[%t] : memref<?xi32>
  } {launch.phase = array<i64: 0, 16>}
  return
}
