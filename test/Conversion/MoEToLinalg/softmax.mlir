// linalg.softmax: maximum, exponentials, sum and quotient, along the dimension it names.
// RUN: moe-opt %s --convert-moe-to-linalg | FileCheck %s

// CHECK-LABEL: @softmax
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x8xf32>
func.func @softmax(%x: tensor<?x8xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[MOST:.+]] = linalg.generic {{.+}} iterator_types = ["reduction", "parallel"]} ins(%[[X]] : tensor<?x8xf32>)
  // CHECK: arith.max
  // CHECK: %[[POWERS:.+]] = linalg.generic {{.+}} ins(%[[X]], %[[MOST]] : tensor<?x8xf32>, tensor<8xf32>)
  // CHECK: math.exp
  // CHECK: %[[SUM:.+]] = linalg.generic {{.+}} iterator_types = ["reduction", "parallel"]} ins(%[[POWERS]] : tensor<?x8xf32>)
  // CHECK: %[[SHARES:.+]] = linalg.generic {{.+}} ins(%[[POWERS]], %[[SUM]] : tensor<?x8xf32>, tensor<8xf32>)
  // CHECK: arith.divf
  // CHECK: return %[[SHARES]]
  %y = linalg.softmax dimension(0) ins(%x : tensor<?x8xf32>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
