// moe.combine: a loop over tokens, slots ascending, empty slots skipped.
// RUN: moe-opt %s --convert-moe-to-linalg --canonicalize --cse | FileCheck %s

// CHECK-LABEL: @weighted_sum
// CHECK-SAME: %[[ROWS:[^:]+]]: tensor<?x64xf32>, %[[SLOTS:[^:]+]]: tensor<?x2xindex>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>, %[[INIT:[^:]+]]: tensor<?x64xf32>
func.func @weighted_sum(%rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>,
                        %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[COUNT:.+]] = tensor.dim %[[ROWS]]
  // CHECK: %[[RESULT:[^ :]+]] = scf.for %[[T:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args(%[[ALL:.+]] = %[[INIT]])
  // CHECK: %[[START:.+]] = tensor.extract_slice %[[ALL]][%[[T]], 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
  // CHECK: %[[TOTAL:[^ :]+]] = scf.for %[[S:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args(%[[SUM:.+]] = %[[START]])
  // CHECK: %[[ROW:.+]] = tensor.extract %[[SLOTS]][%[[T]], %[[S]]]
  // CHECK: %[[TAKEN:.+]] = arith.cmpi ult, %[[ROW]], %[[COUNT]]
  // CHECK: scf.if %[[TAKEN]]
  // CHECK: %[[WEIGHT:.+]] = tensor.extract %[[WEIGHTS]][%[[T]], %[[S]]]
  // CHECK: %[[VALUES:.+]] = tensor.extract_slice %[[ROWS]][%[[ROW]], 0] [1, 64] [1, 1]
  // CHECK: linalg.generic {{.+}} ins(%[[VALUES]] : tensor<64xf32>) outs(%[[SUM]] : tensor<64xf32>)
  // CHECK-NEXT: ^bb0(%[[VALUE:.+]]: f32, %[[SO_FAR:.+]]: f32):
  // CHECK-NEXT: %[[ADDED:.+]] = math.fma %[[WEIGHT]], %[[VALUE]], %[[SO_FAR]] : f32
  // CHECK-NEXT: linalg.yield %[[ADDED]] : f32
  // CHECK: } else {
  // CHECK-NEXT: scf.yield %[[SUM]]
  // CHECK: tensor.insert_slice %[[TOTAL]] into %[[ALL]][%[[T]], 0] [1, 64] [1, 1]
  // CHECK: return %[[RESULT]]
  %y = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
    kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Tests that the combination decides what is added: a sum takes no weight.
// CHECK-LABEL: @sum
// CHECK: ^bb0(%[[VALUE:.+]]: f32, %[[SO_FAR:.+]]: f32):
// CHECK-NEXT: %[[ADDED:.+]] = arith.addf %[[SO_FAR]], %[[VALUE]] : f32
// CHECK-NEXT: linalg.yield %[[ADDED]] : f32
func.func @sum(%rows: tensor<9x64xf32>, %slots: tensor<3x2xindex>, %weights: tensor<3x2xf32>,
               %init: tensor<3x64xf32>) -> tensor<3x64xf32> {
  %y = moe.combine ins(%rows : tensor<9x64xf32>) at(%slots : tensor<3x2xindex>) weights(%weights : tensor<3x2xf32>)
    kind(#moe.sum) outs(%init : tensor<3x64xf32>) -> tensor<3x64xf32>
  return %y : tensor<3x64xf32>
}
