// moe.select: scores, choice, normalisation and scale, each in the form its attribute gives.
// RUN: moe-opt %s --convert-moe-to-linalg --canonicalize --cse | FileCheck %s

// Tests that k is the trip count of a loop over slots around one over experts, and that equal scores and NaN are
// decided by index.
// CHECK-LABEL: @top_k
// CHECK-SAME: %[[LOGITS:[^:]+]]: tensor<?x8xf32>
func.func @top_k(%logits: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  // CHECK-DAG: %[[K:.+]] = arith.constant 2 : index
  // CHECK-DAG: %[[EXPERTS:.+]] = arith.constant 8 : index
  // CHECK: %[[TOKENS:.+]] = tensor.dim %[[LOGITS]]
  // CHECK: %[[CHOICE:[^ :]+]]:2 = scf.for %[[T:[^ ]+]] = %{{.+}} to %[[TOKENS]] step
  // CHECK: scf.for %[[S:[^ ]+]] = %{{.+}} to %[[K]] step
  // CHECK: scf.for %[[E:[^ ]+]] = %{{.+}} to %[[EXPERTS]] step
  // CHECK: %[[SCORE:.+]] = tensor.extract %[[LOGITS]][%[[T]], %[[E]]]
  // CHECK: arith.cmpf uno, %[[SCORE]], %[[SCORE]]
  // CHECK: arith.cmpf ogt, %[[SCORE]]
  // CHECK: tensor.insert %{{.+}} into %{{.+}}[%[[T]], %[[S]]] : tensor<?x2xi32>
  // CHECK: tensor.insert %{{.+}} into %{{.+}}[%[[T]], %[[S]]] : tensor<?x2xf32>
  // CHECK: return %[[CHOICE]]#0, %[[CHOICE]]#1
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

// Tests that a bias takes part in the choice only: weights are read from the scores without it, then summed to one
// and scaled.
// CHECK-LABEL: @bias_and_scale
// CHECK-SAME: %[[LOGITS:[^:]+]]: tensor<4x8xf32>, %[[BIAS:[^:]+]]: tensor<8xf32>
func.func @bias_and_scale(%logits: tensor<4x8xf32>, %bias: tensor<8xf32>) -> (tensor<4x2xi32>, tensor<4x2xf32>) {
  // CHECK-DAG: %[[SCALE:.+]] = arith.constant 2.500000e+00 : f32
  // CHECK: %[[SCORES:.+]] = linalg.generic {{.+}} ins(%[[LOGITS]] : tensor<4x8xf32>)
  // CHECK: math.exp
  // CHECK: %[[JUDGED:.+]] = linalg.generic {{.+}} ins(%[[SCORES]], %[[BIAS]] : tensor<4x8xf32>, tensor<8xf32>)
  // CHECK: arith.addf
  // CHECK: %[[CHOICE:[^ :]+]]:2 = scf.for
  // CHECK: tensor.extract %[[JUDGED]]
  // CHECK: %[[WEIGHTS:.+]] = linalg.generic {{.+}} ins(%[[CHOICE]]#0 : tensor<4x2xi32>)
  // CHECK: tensor.extract %[[SCORES]]
  // CHECK: %[[SUM:.+]] = linalg.generic {{.+}} ins(%[[WEIGHTS]] : tensor<4x2xf32>)
  // CHECK: arith.addf
  // CHECK: %[[SHARES:.+]] = linalg.generic {{.+}} ins(%[[WEIGHTS]], %[[SUM]]
  // CHECK: arith.divf
  // CHECK: %[[SCALED:.+]] = linalg.generic {{.+}} ins(%[[SHARES]]
  // CHECK: arith.mulf %{{.+}}, %[[SCALE]]
  // CHECK: return %[[CHOICE]]#0, %[[SCALED]]
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.sigmoid)
    normalize(#moe.sum_to_one) scale(2.5) : tensor<4x8xf32> -> !moe.routing<4 x 8, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<4 x 8, slots = 2> -> tensor<4x2xi32>, tensor<4x2xf32>
  return %ids, %weights : tensor<4x2xi32>, tensor<4x2xf32>
}
