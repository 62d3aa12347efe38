// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-rows{rows=8}),canonicalize,cse)" | FileCheck %s
// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-rows{rows=8}),convert-moe-to-linalg,one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},canonicalize,cse,canonicalize)" | FileCheck %s --check-prefix=BUFFERS
// RUN: not moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-rows{rows=0}))" 2>&1 | FileCheck %s --check-prefix=ERROR

// ERROR: error: expected 'rows' to be 1 or more, got 0

// Tests that a combine is parallel over blocks of tokens, and computed in place.

// CHECK-LABEL: func.func @combine
// CHECK-SAME:    %{{[^:]+}}: tensor<?x64xf32>, %[[SLOTS:[^:]+]]: tensor<?x2xindex>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
// CHECK:         %[[Y:.+]] = scf.forall (%[[BLOCK:.+]]) = (0) to (%{{.+}}) step (8) shared_outs(%[[OUT:.+]] = %{{.+}})
// CHECK-DAG:       %[[MY_SLOTS:.+]] = tensor.extract_slice %[[SLOTS]][%[[BLOCK]], 0]
// CHECK-DAG:       %[[MY_WEIGHTS:.+]] = tensor.extract_slice %[[WEIGHTS]][%[[BLOCK]], 0]
// CHECK:           %[[PART:.+]] = moe.combine ins(%{{.+}}) at(%[[MY_SLOTS]] : {{.+}}) weights(%[[MY_WEIGHTS]] :
// CHECK:           tensor.parallel_insert_slice %[[PART]] into %[[OUT]][%[[BLOCK]], 0]
// CHECK:         return %[[Y]]

// BUFFERS-LABEL: func.func @combine
// BUFFERS-NOT:     memref.alloc
// BUFFERS-NOT:     memref.copy
// BUFFERS:         scf.forall
// BUFFERS-NOT:     memref.alloc
// BUFFERS-NOT:     memref.copy
// BUFFERS:         return
func.func @combine(%rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>,
                   %init: tensor<?x64xf32> {bufferization.writable = true}) -> tensor<?x64xf32> {
  %y = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Tests that a gather is parallel over blocks of rows.

// CHECK-LABEL: func.func @gather
// CHECK:         scf.forall
// CHECK:           moe.gather
// CHECK:         return
func.func @gather(%x: tensor<?x64xbf16>, %tokens: tensor<?xi32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = moe.gather ins(%x : tensor<?x64xbf16>) at(%tokens : tensor<?xi32>) outs(%init : tensor<?x64xf32>)
         -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Tests that a single block of rows, and what is in a parallel loop already, stays.

// CHECK-LABEL: func.func @few_rows
// CHECK-NOT:     scf.forall
// CHECK:         moe.gather
// CHECK:         return
func.func @few_rows(%x: tensor<?x64xf32>, %tokens: tensor<8xi32>, %init: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %y = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<8xi32>) outs(%init : tensor<8x64xf32>)
         -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}
