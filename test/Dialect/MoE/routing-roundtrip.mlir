// Selection policies, their parameters, and operations on routings: printed, parsed and printed again; in generic form too.
// RUN: moe-opt %s | FileCheck %s
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s -mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK-LABEL: @policies
// CHECK-SAME: %[[LOGITS:[^:]+]]: tensor<?x8xf32>, %[[KEY:[^:]+]]: tensor<1xi32>, %[[COUNTER:[^:]+]]: tensor<?xi32>
func.func @policies(%logits: tensor<?x8xf32>, %key: tensor<1xi32>, %counter: tensor<?xi32>, %p: tensor<?xf32>,
                    %groups: tensor<?x4xf32>, %capacity: tensor<?xindex>) {
  // CHECK: policy(#moe.group_limited_top_k<k = 4, groups = 4, keep = 2, judge = top2_sum>)
  %limited = moe.select %logits policy(#moe.group_limited_top_k<k = 4, groups = 4, keep = 2, judge = top2_sum>)
    score(#moe.sigmoid) normalize(#moe.sum_to_one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  // CHECK: policy(#moe.group_limited_top_k<k = 1, groups = 4, keep = 1, judge = given, excluded = 0.000000e+00 : f32>)
  // CHECK-SAME: with(group_scores = %{{.+}} : tensor<?x4xf32>)
  %given = moe.select %logits
    policy(#moe.group_limited_top_k<k = 1, groups = 4, keep = 1, judge = given, excluded = 0.0 : f32>)
    with(group_scores = %groups : tensor<?x4xf32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  // CHECK: policy(#moe.per_group_top_k<k = 1, groups = 4>)
  %each = moe.select %logits policy(#moe.per_group_top_k<k = 1, groups = 4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  // CHECK: policy(#moe.top_p<slots = 8>) with(p = %{{.+}} : tensor<?xf32>) score(#moe.softmax)
  %nucleus = moe.select %logits policy(#moe.top_p<slots = 8>) with(p = %p : tensor<?xf32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  // CHECK: policy(#moe.gap) with(gap = %{{.+}} : tensor<?xf32>)
  %gap = moe.select %logits policy(#moe.gap) with(gap = %p : tensor<?xf32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: policy(#moe.threshold<slots = 8, otherwise = nothing, inclusive = true>) with(thresholds =
  %thresholds = tensor.expand_shape %p [[0, 1]] output_shape [4, 1] : tensor<?xf32> into tensor<?x1xf32>
  %passing = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = nothing, inclusive = true>)
    with(thresholds = %thresholds : tensor<?x1xf32>) score(#moe.softmax) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  // CHECK: policy(#moe.ranks<[1, 3]>)
  %ranks = moe.select %logits policy(#moe.ranks<[1, 3]>) score(#moe.softmax) normalize(#moe.sum_to_one<floor = 1.0e-9 : f32>)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: policy(#moe.sequential_masked<k = 2, jitter = 0.00999999977 : f32>)
  %masked = moe.select %logits policy(#moe.sequential_masked<k = 2, jitter = 1.0e-2 : f32>) score(#moe.identity)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: policy(#moe.random) with(key = %[[KEY]] : tensor<1xi32>, counter = %[[COUNTER]] : tensor<?xi32>)
  // CHECK-SAME: normalize(#moe.one)
  %random = moe.select %logits policy(#moe.random) with(key = %key : tensor<1xi32>, counter = %counter : tensor<?xi32>)
    score(#moe.identity) normalize(#moe.one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  // CHECK: policy(#moe.sample)
  %sample = moe.select %logits policy(#moe.sample) with(key = %key : tensor<1xi32>, counter = %counter : tensor<?xi32>)
    score(#moe.softmax) normalize(#moe.one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  // CHECK: weigh(%[[LOGITS]] : tensor<?x8xf32>) policy(#moe.all)
  %all = moe.select %logits weigh(%logits : tensor<?x8xf32>) policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  // CHECK: policy(#moe.expert_choice) with(capacity = %{{.+}} : tensor<?xindex>, groups = %[[COUNTER]] : tensor<?xi32>)
  %choice = moe.select %logits policy(#moe.expert_choice)
    with(capacity = %capacity : tensor<?xindex>, groups = %counter : tensor<?xi32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// CHECK-LABEL: @routings
// CHECK-SAME: %[[LOGITS:[^:]+]]: tensor<?x8xf32>, %[[SEQUENCES:[^:]+]]: tensor<?xi32>, %[[CAPACITY:[^:]+]]: tensor<?xindex>
func.func @routings(%logits: tensor<?x8xf32>, %sequences: tensor<?xi32>, %capacity: tensor<?xindex>)
    -> !moe.routing<? x 8, slots = 2> {
  // CHECK: %[[DECIDED:.+]] = moe.select %[[LOGITS]]
  // CHECK-SAME: scope(sequence) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2, scope = sequence>
  %decided = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep) scope(sequence)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2, scope = sequence>
  // CHECK: %[[SPREAD:.+]] = moe.spread %[[DECIDED]] over(%[[SEQUENCES]] : tensor<?xi32>)
  // CHECK-SAME: : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
  %spread = moe.spread %decided over(%sequences : tensor<?xi32>)
    : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
  // CHECK: %[[LIMITED:.+]] = moe.limit %[[SPREAD]] capacity(%[[CAPACITY]] : tensor<?xindex>)
  // CHECK-SAME: groups(%[[SEQUENCES]] : tensor<?xi32>) priority(slot) : !moe.routing<? x 8, slots = 2>
  %limited = moe.limit %spread capacity(%capacity : tensor<?xindex>) groups(%sequences : tensor<?xi32>) priority(slot)
    : !moe.routing<? x 8, slots = 2>
  // CHECK: %[[ROOM:.+]] = moe.limit %[[LIMITED]] capacity(%[[CAPACITY]] : tensor<?xindex>) priority(weight)
  %room = moe.limit %limited capacity(%capacity : tensor<?xindex>) priority(weight) : !moe.routing<? x 8, slots = 2>
  // CHECK: %[[AGAIN:.+]] = moe.reweigh %[[ROOM]] normalize(#moe.sum_to_one) scale(2.000000e+00) : !moe.routing<? x 8, slots = 2>
  %again = moe.reweigh %room normalize(#moe.sum_to_one) scale(2.0) : !moe.routing<? x 8, slots = 2>
  // CHECK: return %[[AGAIN]]
  return %again : !moe.routing<? x 8, slots = 2>
}
