// RUN: moe-opt %s --moe-tile-select --remarks-filter-missed='.*' --remark-format=emitRemark 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// Tests that a choice of each token alone is a loop over tokens.
// CHECK-LABEL: func.func @alone(
// CHECK-SAME:    %[[LOGITS:[^:]+]]: tensor<?x8xf32>
// CHECK:         %[[PARTS:.+]]:2 = scf.forall (%[[TOKEN:.+]]) in
// CHECK:           %[[OWN:.+]] = tensor.extract_slice %[[LOGITS]][%[[TOKEN]], 0] [1, 8] [1, 1]
// CHECK:           %[[CHOSEN:.+]] = moe.select %[[OWN]] policy(#moe.top_k<2>) {{.+}} -> !moe.routing<1 x 8, slots = 2>
// CHECK:           moe.routing_parts %[[CHOSEN]]
// CHECK:         moe.make_routing %[[PARTS]]#0, %[[PARTS]]#1
func.func @alone(%logits: tensor<?x8xf32>) -> !moe.routing<? x 8, slots = 2> {
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing : !moe.routing<? x 8, slots = 2>
}

// Tests that a choice over several tokens is left alone, and why.
// CHECK-LABEL: func.func @together(
// CHECK-NOT:     scf.forall
// CHECK:         moe.select {{.+}} policy(#moe.expert_choice)
// REMARK: the policy looks at several tokens at once
func.func @together(%logits: tensor<?x8xf32>, %capacity: tensor<1xindex>) -> !moe.routing<? x 8, slots = 8> {
  %routing = moe.select %logits policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return %routing : !moe.routing<? x 8, slots = 8>
}
