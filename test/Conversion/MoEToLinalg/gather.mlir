// moe.gather: a loop over rows, each copied by one elementwise operation.
// RUN: moe-opt %s --convert-moe-to-linalg --cse | FileCheck %s

// CHECK-LABEL: @gather
// CHECK-SAME: %[[SOURCE:[^:]+]]: tensor<?x64xf32>, %[[INDICES:[^:]+]]: tensor<?xindex>, %[[INIT:[^:]+]]: tensor<?x64xf32>
func.func @gather(%x: tensor<?x64xf32>, %at: tensor<?xindex>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[COUNT:.+]] = tensor.dim %[[INDICES]]
  // CHECK: %[[RESULT:[^ :]+]] = scf.for %[[R:[^ ]+]] = %{{.+}} to %[[COUNT]] step %{{.+}} iter_args(%[[ROWS:.+]] = %[[INIT]])
  // CHECK: %[[NUMBER:.+]] = tensor.extract %[[INDICES]][%[[R]]]
  // The nearest row of the source.
  // CHECK: %[[SIZE:.+]] = tensor.dim %[[SOURCE]]
  // CHECK: %[[LAST:.+]] = arith.subi %[[SIZE]], %{{.+}}
  // CHECK: %[[UPPER:.+]] = arith.minsi %[[NUMBER]], %[[LAST]]
  // CHECK: %[[INDEX:.+]] = arith.maxsi %[[UPPER]], %{{.+}}
  // CHECK: %[[FROM:.+]] = tensor.extract_slice %[[SOURCE]][%[[INDEX]], 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
  // CHECK: %[[TO:.+]] = tensor.extract_slice %[[ROWS]][%[[R]], 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
  // CHECK: %[[ROW:.+]] = linalg.generic {{.+}} ins(%[[FROM]] : tensor<64xf32>) outs(%[[TO]] : tensor<64xf32>)
  // CHECK: %[[NEXT:.+]] = tensor.insert_slice %[[ROW]] into %[[ROWS]][%[[R]], 0] [1, 64] [1, 1]
  // CHECK: scf.yield %[[NEXT]]
  // CHECK: return %[[RESULT]]
  %y = moe.gather ins(%x : tensor<?x64xf32>) at(%at : tensor<?xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Tests that storage types are widened and 32-bit indices are taken, with rows of a dynamic width.
// CHECK-LABEL: @gather_widens
// CHECK-SAME: %[[SOURCE:[^:]+]]: tensor<9x?xbf16>, %[[INDICES:[^:]+]]: tensor<3xi32>
func.func @gather_widens(%x: tensor<9x?xbf16>, %at: tensor<3xi32>, %init: tensor<3x?xf32>) -> tensor<3x?xf32> {
  // CHECK: %[[NUMBER:.+]] = tensor.extract %[[INDICES]]
  // CHECK: %[[WIDE:.+]] = arith.index_cast %[[NUMBER]] : i32 to index
  // CHECK: %[[UPPER:.+]] = arith.minsi %[[WIDE]], %{{.+}}
  // CHECK: %[[INDEX:.+]] = arith.maxsi %[[UPPER]], %{{.+}}
  // CHECK: %[[FROM:.+]] = tensor.extract_slice %[[SOURCE]][%[[INDEX]], 0] [1, %{{.+}}] [1, 1] : tensor<9x?xbf16> to tensor<?xbf16>
  // CHECK: linalg.generic {{.+}} ins(%[[FROM]] : tensor<?xbf16>)
  // CHECK: arith.extf %{{.+}} : bf16 to f32
  %y = moe.gather ins(%x : tensor<9x?xbf16>) at(%at : tensor<3xi32>) outs(%init : tensor<3x?xf32>) -> tensor<3x?xf32>
  return %y : tensor<3x?xf32>
}
