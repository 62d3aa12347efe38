// Constraints of routings by their label of docs/Spec.md: what is rejected, and which two facts disagree.
// RUN: moe-opt %s -split-input-file -verify-diagnostics

//===--- select ---===//

func.func @select_s1_groups_do_not_divide(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected the groups to divide the number of experts 8, got 3}}
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 2, groups = 3, keep = 1, judge = max>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s1_more_than_kept_groups_have(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected k to be at most the 4 experts of the kept groups, got 5}}
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 5, groups = 4, keep = 2, judge = top2_sum>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 5>
  return
}

// -----

func.func @select_s1_per_group_do_not_divide(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected the groups to divide the number of experts 8, got 5}}
  %routing = moe.select %logits policy(#moe.per_group_top_k<k = 1, groups = 5>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 5>
  return
}

// -----

func.func @select_s1_more_than_a_group(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected k to be at most the 2 experts of a group, got 3}}
  %routing = moe.select %logits policy(#moe.per_group_top_k<k = 3, groups = 4>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 12>
  return
}

// -----

func.func @select_s1_sequential_more_than_experts(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected k to be at most the number of experts 8, got 9}}
  %routing = moe.select %logits policy(#moe.sequential_masked<k = 9, jitter = 1.0e-2 : f32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 9>
  return
}

// -----

func.func @select_s1_rank(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected ranks below the number of experts 8, got 8}}
  %routing = moe.select %logits policy(#moe.ranks<[0, 8]>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s1_top_p(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected slots to be at most the number of experts 8, got 9}}
  %routing = moe.select %logits policy(#moe.top_p<slots = 9>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 9>
  return
}

// -----

func.func @select_s1_threshold(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected slots to be at most the number of experts 8, got 9}}
  %routing = moe.select %logits policy(#moe.threshold<slots = 9, otherwise = best>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 9>
  return
}

// -----

func.func @group_limited_keep(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected keep to be at most the number of groups 4, got 5}}
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 2, groups = 4, keep = 5, judge = max>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @group_limited_no_groups(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected groups to be 1 or more, got 0}}
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 2, groups = 0, keep = 1, judge = max>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @group_limited_excluded(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected 'excluded' to be an f32, got 0.000000e+00 : f64}}
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 2, groups = 4, keep = 1, judge = max, excluded = 0.0 : f64>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @per_group_k(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected k to be 1 or more, got 0}}
  %routing = moe.select %logits policy(#moe.per_group_top_k<k = 0, groups = 4>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @sequential_jitter(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected 'jitter' to be an f32, 0 or more, got -1.000000e+00 : f32}}
  %routing = moe.select %logits policy(#moe.sequential_masked<k = 2, jitter = -1.0 : f32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @ranks_descend(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected ranks to ascend from 0, got 0 after 1}}
  %routing = moe.select %logits policy(#moe.ranks<[1, 0]>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @top_p_slots(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected slots to be 1 or more, got 0}}
  %routing = moe.select %logits policy(#moe.top_p<slots = 0>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @sum_to_one_floor(%logits: tensor<?x8xf32>) {
  // expected-error @+2 {{expected 'floor' to be a finite f32, 0 or more, got 0x7F800000 : f32}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax)
    normalize(#moe.sum_to_one<floor = 0x7F800000 : f32>) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s5_weigh(%logits: tensor<?x8xf32>,
    %other: tensor<?x7xf32>) { // expected-note {{it is made here}}
  // expected-error @+1 {{expected 'weigh' to have the shape of the logits}}
  %routing = moe.select %logits weigh(%other : tensor<?x7xf32>) policy(#moe.top_k<2>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Capacity means nothing to a policy that decides each token alone.
func.func @select_s6_capacity(%logits: tensor<?x8xf32>,
    %capacity: tensor<1xindex>) { // expected-note {{it is made here}}
  // expected-error @+3 {{expected no parameter 'capacity'}}
  // expected-note @+2 {{#moe.top_k<2> does not read it}}
  // expected-note @+1 {{a capacity counts the tokens of an expert, but this policy decides each token alone; apply moe.limit to the routing}}
  %routing = moe.select %logits policy(#moe.top_k<2>) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s6_unknown(%logits: tensor<?x8xf32>,
    %p: tensor<1xf32>) { // expected-note {{it is made here}}
  // expected-error @+2 {{expected no parameter 'p'}}
  // expected-note @+1 {{#moe.top_k<2> does not read it}}
  %routing = moe.select %logits policy(#moe.top_k<2>) with(p = %p : tensor<1xf32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s6_missing(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected parameter 'p', which #moe.top_p<slots = 8> reads}}
  %routing = moe.select %logits policy(#moe.top_p<slots = 8>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @select_s6_twice(%logits: tensor<?x8xf32>, %p: tensor<1xf32>) {
  // expected-error @+1 {{expected each parameter once, got 'p' twice}}
  %routing = moe.select %logits policy(#moe.top_p<slots = 8>) with(p = %p : tensor<1xf32>, p = %p : tensor<1xf32>)
    score(#moe.softmax) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @select_s6_type(%logits: tensor<?x8xf32>,
    %t: tensor<?x7xf32>) { // expected-note {{it is made here}}
  // expected-error @+1 {{expected parameter 'thresholds' to be tensor<?x8xf32> (or an extent of 1 that stands for all), got 'tensor<?x7xf32>'}}
  %routing = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = nothing>)
    with(thresholds = %t : tensor<?x7xf32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @select_s6_tokens(%logits: tensor<4x8xf32>,
    %k: tensor<5xi32>) { // expected-note {{it is made here}}
  // expected-error @+1 {{expected parameter 'k' to be tensor<4xi32> (or an extent of 1 that stands for all), got 'tensor<5xi32>'}}
  %routing = moe.select %logits policy(#moe.top_k<2>) with(k = %k : tensor<5xi32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<4x8xf32> -> !moe.routing<4 x 8, slots = 2>
  return
}

// -----

func.func @select_s7_bias(%logits: tensor<?x8xf32>,
    %bias: tensor<8xf32>) { // expected-note {{it is made here}}
  // expected-error @+2 {{expected no bias}}
  // expected-note @+1 {{weighs its choice itself, by the scores it chooses from}}
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.sequential_masked<k = 2, jitter = 1.0e-2 : f32>)
    score(#moe.identity) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s7_weigh(%logits: tensor<?x8xf32>,
    %other: tensor<?x8xf32>) { // expected-note {{it is made here}}
  // expected-error @+2 {{expected no 'weigh'}}
  // expected-note @+1 {{weighs its choice itself, by the scores it chooses from}}
  %routing = moe.select %logits weigh(%other : tensor<?x8xf32>) policy(#moe.sequential_masked<k = 2, jitter = 1.0e-2 : f32>)
    score(#moe.identity) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s8_sum_to_one(%logits: tensor<?x8xf32>) {
  // expected-error @+3 {{expected weights that do not depend on what is selected}}
  // expected-note @+2 {{#moe.sum_to_one weighs over the selected experts}}
  // expected-note @+1 {{#moe.all selects every expert: nothing bounds the selection}}
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @select_s8_softmax_selected(%logits: tensor<?x8xf32>) {
  // expected-error @+3 {{expected weights that do not depend on what is selected}}
  // expected-note @+2 {{#moe.softmax_selected weighs over the selected experts}}
  // expected-note @+1 {{#moe.all selects every expert: nothing bounds the selection}}
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

func.func @select_s8_uniform(%logits: tensor<?x8xf32>) {
  // expected-error @+3 {{expected weights that do not depend on what is selected}}
  // expected-note @+2 {{#moe.uniform weighs over the selected experts}}
  // expected-note @+1 {{#moe.all selects every expert: nothing bounds the selection}}
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}

// -----

//===--- limit, reweigh, spread ---===//

func.func @limit_l1_scope(
    %routing: !moe.routing<2 x 8, slots = 2, scope = sequence>, // expected-note {{it is decided here}}
    %c: tensor<1xindex>) {
  // expected-error @+2 {{expected a routing with one decision per token, got one per sequence}}
  // expected-note @+1 {{a capacity counts tokens; give each token its decision first (moe.spread)}}
  %limited = moe.limit %routing capacity(%c : tensor<1xindex>) priority(token) : !moe.routing<2 x 8, slots = 2, scope = sequence>
  return
}

// -----

func.func @limit_l2_groups(%routing: !moe.routing<4 x 8, slots = 2>, %c: tensor<?xindex>,
    %groups: tensor<5xi32>) { // expected-note {{the groups are made here}}
  // expected-error @+1 {{expected one group per token of the routing (4)}}
  %limited = moe.limit %routing capacity(%c : tensor<?xindex>) groups(%groups : tensor<5xi32>) priority(slot)
    : !moe.routing<4 x 8, slots = 2>
  return
}

// -----

func.func @limit_l3_capacities(%routing: !moe.routing<? x 8, slots = 2>,
    %c: tensor<3xindex>) { // expected-note {{the capacity is made here}}
  // expected-error @+1 {{expected one capacity without groups, got 3}}
  %limited = moe.limit %routing capacity(%c : tensor<3xindex>) priority(weight) : !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @reweigh_w1_scale(%routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected the scale to be finite}}
  %again = moe.reweigh %routing normalize(#moe.keep) scale(0x7FC00000) : !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @spread_p1_per_token(%routing: !moe.routing<? x 8, slots = 2>, // expected-note {{this one has one per token}}
    %rows: tensor<?xi32>) {
  // expected-error @+1 {{expected a routing with one decision per sequence, request or batch}}
  %spread = moe.spread %routing over(%rows : tensor<?xi32>) : !moe.routing<? x 8, slots = 2> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

//===--- a consumer of tokens, a decision per sequence ---===//

// Also where the numbers of rows agree.
func.func @experts_e11_scope(
    %x: tensor<2x4xf32>,
    %routing: !moe.routing<2 x 8, slots = 2, scope = sequence>) { // expected-note {{it is decided here}}
  // expected-error @+2 {{expected a routing with one decision per token, got one per sequence}}
  // expected-note @+1 {{give each token the decision of its sequence first (moe.spread)}}
  %y = moe.experts rows(%x : tensor<2x4xf32>) routed_by(%routing : !moe.routing<2 x 8, slots = 2, scope = sequence>)
         combine(#moe.weighted_sum) -> tensor<2x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @plan_p2_scope(
    %routing: !moe.routing<2 x 8, slots = 2, scope = batch>) { // expected-note {{it is decided here}}
  // expected-error @+2 {{expected a routing with one decision per token, got one per batch}}
  // expected-note @+1 {{give each token the decision of its batch first (moe.spread)}}
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<2 x 8, slots = 2, scope = batch>
    -> tensor<9xindex>, tensor<4xindex>, tensor<2x2xindex>
  return
}
