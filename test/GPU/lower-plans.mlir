// RUN: moe-opt %s --moe-gpu-lower-plans --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a plan becomes phases of one launch: two of each block, three of the last. Pairs without an expert have a
// column of their own in the sums, so rows are written once each and tokens behind the last expert are 0.
// CHECK-LABEL: func.func @sort(
// CHECK-SAME:    %[[IDS:[^:]+]]: memref<?x4xi32>, %[[OFFSETS:[^:]+]]: memref<17xindex>, %[[TOKENS:[^:]+]]: memref<?xindex>, %[[ROWS:[^:]+]]: memref<?x4xindex>
// CHECK:         %[[COUNT:.+]] = memref.dim %[[IDS]]
// CHECK:         %[[BLOCKS:.+]] = arith.maxsi
// CHECK:         %[[MORE:.+]] = arith.addi %[[BLOCKS]]
// CHECK:         %[[SUMS:.+]] = memref.alloc(%[[MORE]]) : memref<?x17xindex>
// CHECK:         scf.parallel (%[[T:.+]], %[[S:.+]]) = {{.+}} to (%[[COUNT]],
// CHECK:           %[[ID:.+]] = memref.load %[[IDS]][%[[T]], %[[S]]]
// CHECK:           %[[WIDE:.+]] = arith.index_cast %[[ID]]
// CHECK:           arith.minui %[[WIDE]]
// CHECK:           memref.store %{{.+}}, %[[ROWS]][%[[T]], %[[S]]]
// CHECK:         } {launch.phase = array<i64: 0, 16>}
// CHECK:         scf.parallel (%[[B:.+]], %[[E:.+]]) = {{.+}} to (%[[BLOCKS]],
// CHECK:           memref.store %{{.+}}, %[[SUMS]][%[[B]], %[[E]]]
// CHECK:         } {launch.phase = array<i64: 0, 1>}
// CHECK:         scf.parallel
// CHECK:           scf.for %[[BEFORE:.+]] = {{.+}} to %[[BLOCKS]] {{.+}} iter_args(%[[SUM:.+]] =
// CHECK:             memref.store %[[SUM]], %[[SUMS]][%[[BEFORE]],
// CHECK:         } {launch.phase = array<i64: 0, 0>}
// CHECK:         scf.parallel
// CHECK:           memref.store %{{.+}}, %[[OFFSETS]]
// CHECK:         } {launch.phase = array<i64: 0, 0>}
// CHECK:         scf.parallel
// CHECK:           memref.store %{{.+}}, %[[TOKENS]]
// CHECK:           memref.store %{{.+}}, %[[ROWS]]
// CHECK:         } {launch.phase = array<i64: 0, 0>}
// CHECK-NOT:     scf.parallel
// CHECK-NOT:     @plan
// CHECK:         return
func.func private @plan(%ids: memref<?x4xi32>, %offsets: memref<17xindex>, %tokens: memref<?xindex>, %slots: memref<?x4xindex>)
    attributes {launch.plan} {
  return
}
func.func @sort(%ids: memref<?x4xi32>, %offsets: memref<17xindex>, %tokens: memref<?xindex>, %slots: memref<?x4xindex>) {
  call @plan(%ids, %offsets, %tokens, %slots) : (memref<?x4xi32>, memref<17xindex>, memref<?xindex>, memref<?x4xindex>) -> ()
  return
}

// -----

// Tests that plans of a function are launches of their own, and that sizes known in advance are constants.
// CHECK-LABEL: func.func @twice(
// CHECK:         memref.alloc(%{{.+}}) : memref<?x3xindex>
// CHECK:         } {launch.phase = array<i64: 0, 16>}
// CHECK:         memref.alloc(%{{.+}}) : memref<?x3xindex>
// CHECK:         } {launch.phase = array<i64: 1, 16>}
func.func private @plan(%ids: memref<5x1xi32>, %offsets: memref<3xindex>, %tokens: memref<5xindex>, %slots: memref<5x1xindex>)
    attributes {launch.plan} {
  return
}
func.func @twice(%ids: memref<5x1xi32>, %offsets: memref<3xindex>, %tokens: memref<5xindex>, %slots: memref<5x1xindex>) {
  call @plan(%ids, %offsets, %tokens, %slots) : (memref<5x1xi32>, memref<3xindex>, memref<5xindex>, memref<5x1xindex>) -> ()
  call @plan(%ids, %offsets, %tokens, %slots) : (memref<5x1xi32>, memref<3xindex>, memref<5xindex>, memref<5x1xindex>) -> ()
  return
}

// -----

func.func private @plan(%ids: tensor<5x1xi32>) -> tensor<5x1xi32> attributes {launch.plan} {
  return %ids : tensor<5x1xi32>
}
func.func @early(%ids: tensor<5x1xi32>) -> tensor<5x1xi32> {
  // expected-error @below {{expected a plan to take buffers of ids, offsets, tokens and slots}}
  %all = call @plan(%ids) : (tensor<5x1xi32>) -> tensor<5x1xi32>
  return %all : tensor<5x1xi32>
}
