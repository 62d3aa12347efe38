// Who decides a routing and from what, in plain words, followed through the values it is made from.
// RUN: moe-opt %s --moe-explain-routing -split-input-file -verify-diagnostics -o /dev/null

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// Tests that a product of each token's row and a weight is followed.
func.func @router(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %init: tensor<?x8xf32>) -> !moe.routing<? x 8, slots = 2> {
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %w : tensor<?x4xf32>, tensor<8x4xf32>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{routing: one decision per token, 8 experts; each is decided alone (only the token's own rows and what is the same for all are read); at most 2 slots, none empty; gets the 2 experts with the highest score; of equal scores the lowest expert index comes first; NaN is below every number}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing : !moe.routing<? x 8, slots = 2>
}

// -----

// Tests what a threshold says of itself, and that a k of its own may leave slots empty.
func.func @variable(%logits: tensor<?x8xf32>, %t: tensor<1x8xf32>, %k: tensor<?xi32>) {
  // expected-remark @below {{at most 8 slots, some may be empty; gets every expert whose score exceeds its threshold, highest first, at most 8; if none qualifies it gets the expert with the highest score; of equal scores}}
  %best = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = best>) with(thresholds = %t : tensor<1x8xf32>)
    score(#moe.sigmoid) normalize(#moe.uniform) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  // expected-remark @below {{gets every expert whose score reaches its threshold, highest first, at most 4; if none qualifies it gets no expert}}
  %nothing = moe.select %logits policy(#moe.threshold<slots = 4, otherwise = nothing, inclusive = true>)
    with(thresholds = %t : tensor<1x8xf32>) score(#moe.sigmoid) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  // expected-remark @below {{each is decided alone (only the token's own rows and what is the same for all are read); at most 4 slots, some may be empty; gets the 4 experts}}
  %own = moe.select %logits policy(#moe.top_k<4>) with(k = %k : tensor<?xi32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  return
}

// -----

// Tests routing from outside: as an argument, and made of one.
// expected-remark @+1 {{routing: one decision per sequence, 8 experts; each is given from outside (it comes from outside, row by row); at most 2 slots, some may be empty}}
func.func @given(%decided: !moe.routing<? x 8, slots = 2, scope = sequence>, %ids: tensor<?x1xi32>, %weights: tensor<?x1xf32>,
                 %sequences: tensor<?xi32>) {
  // expected-remark @below {{routing: one decision per token, 8 experts; each is given from outside}}
  %made = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 8, slots = 1>
  // expected-remark @below {{routing: one decision per token, 8 experts; each is given from outside}}
  %spread = moe.spread %decided over(%sequences : tensor<?xi32>)
    : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests that tokens that compete are told so, and whatever is made from their routing.
func.func @coupled(%logits: tensor<?x8xf32>, %capacity: tensor<1xindex>) {
  // expected-remark @below {{they depend on one another (its policy looks at several tokens at once); at most 8 slots, some may be empty; gets the experts that take it: each takes as many tokens as its capacity, those that score highest for it; if none qualifies it gets no expert; of tokens with equal scores the first is taken}}
  %choice = moe.select %logits policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  // expected-remark @below {{each is decided alone}}
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // expected-remark @below {{they depend on one another (moe.limit lets tokens compete for the room an expert has); at most 2 slots, some may be empty}}
  %limited = moe.limit %all capacity(%capacity : tensor<1xindex>) priority(token) : !moe.routing<? x 8, slots = 2>
  // expected-remark @below {{they depend on one another (moe.limit lets tokens compete for the room an expert has)}}
  %again = moe.reweigh %limited normalize(#moe.sum_to_one) : !moe.routing<? x 8, slots = 2>
  %ids, %weights = moe.routing_parts %again : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  // expected-remark @below {{they depend on one another (moe.limit lets tokens compete for the room an expert has)}}
  %made = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 9, slots = 2>
  return
}

// -----

// Tests that a bias computed over all tokens couples them, though the policy looks at each alone; and that the same sum
// over another argument of any number of rows is not known to be of other tokens.
#all = affine_map<(t, e) -> (t, e)>
#expert = affine_map<(t, e) -> (e)>
func.func @vote(%logits: tensor<?x8xf32>, %other: tensor<?x8xf32>, %init: tensor<8xf32>) {
  %votes = linalg.generic {indexing_maps = [#all, #expert], iterator_types = ["reduction", "parallel"]}
    ins(%logits : tensor<?x8xf32>) outs(%init : tensor<8xf32>) {
  ^bb0(%x: f32, %sum: f32):
    %more = arith.addf %x, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  // expected-remark @below {{they depend on one another (something is computed over all tokens)}}
  %voted = moe.select %logits bias(%votes : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // expected-remark @below {{whether they depend on one another is unknown (every token reads all rows of something given, which may be those of other tokens)}}
  %elsewhere = moe.select %other bias(%votes : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // Weights computed over all tokens couple them as well.
  %spread_init = tensor.cast %logits : tensor<?x8xf32> to tensor<?x8xf32>
  %weigh = linalg.generic {indexing_maps = [#expert, #all], iterator_types = ["parallel", "parallel"]}
    ins(%votes : tensor<8xf32>) outs(%spread_init : tensor<?x8xf32>) {
  ^bb0(%x: f32, %unused: f32):
    linalg.yield %x : f32
  } -> tensor<?x8xf32>
  // expected-remark @below {{they depend on one another (something is computed over all tokens)}}
  %weighed = moe.select %logits weigh(%weigh : tensor<?x8xf32>) policy(#moe.top_k<2>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests that calls are followed, and bodies of experts: a row of a second router's input is the token's own.
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#total = affine_map<(m, n) -> (n)>
#id = affine_map<(m, n) -> (m, n)>
func.func private @logits(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %init = tensor.empty(%n) : tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %w : tensor<?x4xf32>, tensor<8x4xf32>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %logits : tensor<?x8xf32>
}
func.func @chain(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %bank: !moe.bank<tensor<8x4x4xf32>>, %sum: tensor<4xf32>) {
  %first = func.call @logits(%x, %w) : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{each is decided alone}}
  %routing = moe.select %first policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 1>)
         banks(%bank : !moe.bank<tensor<8x4x4xf32>>) combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%own: tensor<?x4xf32>, %m: tensor<4x4xf32>):
    %out = arith.mulf %own, %own : tensor<?x4xf32>
    moe.yield %out : tensor<?x4xf32>
  }
  %second = func.call @logits(%y, %w) : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{each is decided alone}}
  %again = moe.select %second policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  // A body that sums its rows couples the tokens of an expert.
  %z = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 1>) shared(%sum : tensor<4xf32>)
         combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%own: tensor<?x4xf32>, %init: tensor<4xf32>):
    %all = linalg.generic {indexing_maps = [#id, #total], iterator_types = ["reduction", "parallel"]}
      ins(%own : tensor<?x4xf32>) outs(%init : tensor<4xf32>) {
    ^bb0(%a: f32, %s: f32):
      %more = arith.addf %a, %s : f32
      linalg.yield %more : f32
    } -> tensor<4xf32>
    %out = linalg.generic {indexing_maps = [#total, #id], iterator_types = ["parallel", "parallel"]}
      ins(%all : tensor<4xf32>) outs(%own : tensor<?x4xf32>) {
    ^bb0(%a: f32, %b: f32):
      %both = arith.addf %a, %b : f32
      linalg.yield %both : f32
    } -> tensor<?x4xf32>
    moe.yield %out : tensor<?x4xf32>
  }
  %third = func.call @logits(%z, %w) : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{they depend on one another ('moe.experts' computes over several of its rows)}}
  %mixed = moe.select %third policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  return
}

// -----

// Tests that parts of a row, and parts merged again, are the token's own, but not parts of several rows put together; and
// that a position in the batch is no property of a token.
#id = affine_map<(t, e) -> (t, e)>
func.func @parts(%x: tensor<?x16xf32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x16xf32>
  %deep = tensor.expand_shape %x [[0], [1, 2]] output_shape [%n, 2, 8] : tensor<?x16xf32> into tensor<?x2x8xf32>
  %halves = tensor.collapse_shape %deep [[0, 1], [2]] : tensor<?x2x8xf32> into tensor<?x8xf32>
  // expected-remark @below {{each is decided alone}}
  %each = moe.select %halves policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %ids, %shares = moe.routing_parts %each : !moe.routing<? x 8, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  %both = tensor.expand_shape %shares [[0, 1], [2]] output_shape [%n, 2, 8] : tensor<?x8xf32> into tensor<?x2x8xf32>
  %merged = tensor.collapse_shape %both [[0], [1, 2]] : tensor<?x2x8xf32> into tensor<?x16xf32>
  // expected-remark @below {{each is decided alone}}
  %routing = moe.select %merged policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 2>
  %thirds = tensor.expand_shape %halves [[0, 1], [2]] output_shape [%n, 3, 8] : tensor<?x8xf32> into tensor<?x3x8xf32>
  %joined = tensor.collapse_shape %thirds [[0], [1, 2]] : tensor<?x3x8xf32> into tensor<?x24xf32>
  // expected-remark @below {{whether they depend on one another is unknown (it is reshaped so that rows of several tokens meet)}}
  %torn = moe.select %joined policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x24xf32> -> !moe.routing<? x 24, slots = 2>
  %places = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%x : tensor<?x16xf32>) {
  ^bb0(%own: f32):
    %place = linalg.index 0 : index
    %wide = arith.index_cast %place : index to i32
    %number = arith.sitofp %wide : i32 to f32
    linalg.yield %number : f32
  } -> tensor<?x16xf32>
  // expected-remark @below {{whether they depend on one another is unknown (it depends on where in the batch the token stands)}}
  %placed = moe.select %places policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 2>
  return
}

// -----

// Tests that what a declared function computes is not known.
func.func private @outside(tensor<?x8xf32>) -> tensor<?x8xf32>
func.func @declared(%x: tensor<?x8xf32>) {
  %logits = func.call @outside(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{each is decided alone from rows of its own (what 'func.call' computes is not followed)}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests that loops are not followed: their rows are taken as they are, but not where all of them are read.
#all = affine_map<(t, e) -> (t, e)>
#expert = affine_map<(t, e) -> (e)>
func.func @loops(%x: tensor<?x8xf32>, %zeros: tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %rows = tensor.dim %x, %c0 : tensor<?x8xf32>
  %attended = scf.for %t = %c0 to %rows step %c1 iter_args(%before = %x) -> tensor<?x8xf32> {
    scf.yield %before : tensor<?x8xf32>
  }
  // expected-remark @below {{each is decided alone from rows of its own (what 'scf.for' computes is not followed)}}
  %routing = moe.select %attended policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %votes = linalg.generic {indexing_maps = [#all, #expert], iterator_types = ["reduction", "parallel"]}
    ins(%attended : tensor<?x8xf32>) outs(%zeros : tensor<8xf32>) {
  ^bb0(%v: f32, %sum: f32):
    %more = arith.addf %v, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  // expected-remark @below {{they depend on one another (something is computed over all tokens)}}
  %voted = moe.select %attended bias(%votes : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests a softmax over a row and one over tokens, a row of a table, and experts with a state.
func.func @others(%x: tensor<?x8xf32>, %words: tensor<?xi32>, %table: tensor<9x8xf32>, %state: tensor<8x8xf32>) {
  %own = linalg.softmax dimension(1) ins(%x : tensor<?x8xf32>) outs(%x : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{each is decided alone (only}}
  %routing = moe.select %own policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %across = linalg.softmax dimension(0) ins(%x : tensor<?x8xf32>) outs(%x : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{they depend on one another (something is computed over all tokens)}}
  %mixed = moe.select %x weigh(%across : tensor<?x8xf32>) policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %rows = moe.gather ins(%table : tensor<9x8xf32>) at(%words : tensor<?xi32>) outs(%x : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{each is decided alone (only}}
  %looked_up = moe.select %rows policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y, %after = moe.experts rows(%x : tensor<?x8xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         state(%state : tensor<8x8xf32>) combine(#moe.weighted_sum) -> tensor<?x8xf32>, tensor<8x8xf32> {
  ^bb0(%rows_of_it: tensor<?x8xf32>, %memory: tensor<8xf32>):
    moe.yield %rows_of_it, %memory : tensor<?x8xf32>, tensor<8xf32>
  }
  // expected-remark @below {{they depend on one another (experts with a state hand a token what earlier ones left)}}
  %stateful = moe.select %y policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests that arguments of a private function are what its callers hand to it.
#all = affine_map<(t, e) -> (t, e)>
#expert = affine_map<(t, e) -> (e)>
func.func @caller(%x: tensor<?x8xf32>, %zeros: tensor<8xf32>) {
  %sums = linalg.generic {indexing_maps = [#all, #expert], iterator_types = ["reduction", "parallel"]}
    ins(%x : tensor<?x8xf32>) outs(%zeros : tensor<8xf32>) {
  ^bb0(%v: f32, %sum: f32):
    %more = arith.addf %v, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  func.call @layer(%x, %sums, %zeros) : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> ()
  return
}
func.func private @layer(%x: tensor<?x8xf32>, %sums: tensor<8xf32>, %bias: tensor<8xf32>) {
  // expected-remark @below {{they depend on one another (something is computed over all tokens)}}
  %voted = moe.select %x bias(%sums : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // expected-remark @below {{each is decided alone (only}}
  %biased = moe.select %x bias(%bias : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}
