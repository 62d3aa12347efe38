// RUN: %systems %moe_bin %t %s
//
// Octavius: a request is routed once, by the mean of the router's logits over its instruction tokens, and all low-rank
// experts of all layers use that choice, beside a frozen linear layer. Two layers here. Requests of a batch do not mix.
// Tokens generated later keep the choice of the prompt: @prompt gives it, @decode takes it.
//
// Reading: the mean covers instruction tokens alone; the training code also counts padding, which a test shows to be
// another function. No factor alpha / r, as in the published branch. A random second expert is computed there and not used.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
#of_tokens = affine_map<(n, e, t) -> (t)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @base0(#moe.source<"base0", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @a0(#moe.bank_recipe<[#moe.source<"a0", tensor<4x4x24xf32>>]>) : !moe.bank<tensor<4x4x24xf32>>
ml_program.global private @b0(#moe.bank_recipe<[#moe.source<"b0", tensor<4x24x4xf32>>]>) : !moe.bank<tensor<4x24x4xf32>>
ml_program.global private @base1(#moe.source<"base1", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @a1(#moe.bank_recipe<[#moe.source<"a1", tensor<4x4x24xf32>>]>) : !moe.bank<tensor<4x4x24xf32>>
ml_program.global private @b1(#moe.bank_recipe<[#moe.source<"b1", tensor<4x24x4xf32>>]>) : !moe.bank<tensor<4x24x4xf32>>

func.func private @layer(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 4, slots = 2>, %base: tensor<24x24xf32>,
                         %a: !moe.bank<tensor<4x4x24xf32>>, %b: !moe.bank<tensor<4x24x4xf32>>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %frozen_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %frozen_zero = linalg.fill ins(%zero : f32) outs(%frozen_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %frozen = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %base : tensor<?x24xf32>, tensor<24x24xf32>) outs(%frozen_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %change = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%a, %b : !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %down: tensor<4x24xf32>, %up: tensor<24x4xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %low_empty = tensor.empty(%count) : tensor<?x4xf32>
    %low_zero = linalg.fill ins(%none : f32) outs(%low_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %low = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %down : tensor<?x24xf32>, tensor<4x24xf32>) outs(%low_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %high_empty = tensor.empty(%count) : tensor<?x24xf32>
    %high_zero = linalg.fill ins(%none : f32) outs(%high_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %high = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%low, %up : tensor<?x4xf32>, tensor<24x4xf32>) outs(%high_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %high : tensor<?x24xf32>
  }
  %y = arith.addf %change, %frozen : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice of each request: of the mean of its instruction tokens' logits.
func.func private @decide(%x: tensor<?x24xf32>, %requests: tensor<?xi32>, %instruction: tensor<?xf32>)
    -> !moe.routing<? x 4, slots = 2, scope = request> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %total_empty = tensor.empty() : tensor<3x4xf32>
  %total_zero = linalg.fill ins(%zero : f32) outs(%total_empty : tensor<3x4xf32>) -> tensor<3x4xf32>
  %total = linalg.generic {
    indexing_maps = [affine_map<(n, e, t) -> (t, e)>, #of_tokens, #of_tokens, affine_map<(n, e, t) -> (n, e)>],
    iterator_types = ["parallel", "parallel", "reduction"]
  } ins(%logits, %requests, %instruction : tensor<?x4xf32>, tensor<?xi32>, tensor<?xf32>) outs(%total_zero : tensor<3x4xf32>) {
  ^bb0(%logit: f32, %request: i32, %counts: f32, %before: f32):
    %number = linalg.index 0 : index
    %this = arith.index_cast %number : index to i32
    %is_own = arith.cmpi eq, %request, %this : i32
    %none = arith.constant 0.0 : f32
    %is_counted = arith.cmpf one, %counts, %none : f32
    %both = arith.andi %is_own, %is_counted : i1
    %more = arith.addf %before, %logit : f32
    %after = arith.select %both, %more, %before : f32
    linalg.yield %after : f32
  } -> tensor<3x4xf32>
  %count_empty = tensor.empty() : tensor<3xf32>
  %count_zero = linalg.fill ins(%zero : f32) outs(%count_empty : tensor<3xf32>) -> tensor<3xf32>
  %count = linalg.generic {
    indexing_maps = [affine_map<(n, t) -> (t)>, affine_map<(n, t) -> (t)>, affine_map<(n, t) -> (n)>],
    iterator_types = ["parallel", "reduction"]
  } ins(%requests, %instruction : tensor<?xi32>, tensor<?xf32>) outs(%count_zero : tensor<3xf32>) {
  ^bb0(%request: i32, %counts: f32, %before: f32):
    %number = linalg.index 0 : index
    %this = arith.index_cast %number : index to i32
    %is_own = arith.cmpi eq, %request, %this : i32
    %more = arith.addf %before, %counts : f32
    %after = arith.select %is_own, %more, %before : f32
    linalg.yield %after : f32
  } -> tensor<3xf32>
  %mean = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%total, %count : tensor<3x4xf32>, tensor<3xf32>) outs(%total_empty : tensor<3x4xf32>) {
  ^bb0(%sum: f32, %number: f32, %unused: f32):
    %one = arith.constant 1.0 : f32
    %divisor = arith.maximumf %number, %one : f32
    %quotient = arith.divf %sum, %divisor : f32
    linalg.yield %quotient : f32
  } -> tensor<3x4xf32>
  %means = tensor.cast %mean : tensor<3x4xf32> to tensor<?x4xf32>
  %decided = call @choose(%means) : (tensor<?x4xf32>) -> !moe.routing<? x 4, slots = 2, scope = request>
  return %decided : !moe.routing<? x 4, slots = 2, scope = request>
}

func.func private @choose(%means: tensor<?x4xf32>) -> !moe.routing<? x 4, slots = 2, scope = request> {
  %decided = moe.select %means policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one<epsilon = 1.0e-09 : f32>)
    scope(request) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2, scope = request>
  return %decided : !moe.routing<? x 4, slots = 2, scope = request>
}

func.func private @layers(%x: tensor<?x24xf32>, %requests: tensor<?xi32>, %decided: !moe.routing<? x 4, slots = 2, scope = request>)
    -> tensor<?x24xf32> {
  %base0 = ml_program.global_load_const @base0 : tensor<24x24xf32>
  %a0 = ml_program.global_load_const @a0 : !moe.bank<tensor<4x4x24xf32>>
  %b0 = ml_program.global_load_const @b0 : !moe.bank<tensor<4x24x4xf32>>
  %base1 = ml_program.global_load_const @base1 : tensor<24x24xf32>
  %a1 = ml_program.global_load_const @a1 : !moe.bank<tensor<4x4x24xf32>>
  %b1 = ml_program.global_load_const @b1 : !moe.bank<tensor<4x24x4xf32>>
  // Shown:
  %routing = moe.spread %decided over(%requests : tensor<?xi32>)
    : !moe.routing<? x 4, slots = 2, scope = request> -> !moe.routing<? x 4, slots = 2>
  %x1 = call @layer(%x, %routing, %base0, %a0, %b0) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>, tensor<24x24xf32>, !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
    -> tensor<?x24xf32>
  %x2 = call @layer(%x1, %routing, %base1, %a1, %b1) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>, tensor<24x24xf32>, !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
    -> tensor<?x24xf32>
  return %x2 : tensor<?x24xf32>
}

func.func @octavius(%x: tensor<?x24xf32> {moe.name = "x"}, %requests: tensor<?xi32> {moe.name = "requests"},
                    %instruction: tensor<?xf32> {moe.name = "instruction"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %decided = call @decide(%x, %requests, %instruction) : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xf32>)
    -> !moe.routing<? x 4, slots = 2, scope = request>
  %y = call @layers(%x, %requests, %decided) : (tensor<?x24xf32>, tensor<?xi32>, !moe.routing<? x 4, slots = 2, scope = request>)
    -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The prompt, and the choice that is kept for what follows it.
func.func @prompt(%x: tensor<?x24xf32> {moe.name = "x"}, %requests: tensor<?xi32> {moe.name = "requests"},
                  %instruction: tensor<?xf32> {moe.name = "instruction"})
    -> (tensor<?x24xf32> {moe.name = "y"}, !moe.routing<? x 4, slots = 2, scope = request> {moe.name = "decided"}) {
  %decided = call @decide(%x, %requests, %instruction) : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xf32>)
    -> !moe.routing<? x 4, slots = 2, scope = request>
  %y = call @layers(%x, %requests, %decided) : (tensor<?x24xf32>, tensor<?xi32>, !moe.routing<? x 4, slots = 2, scope = request>)
    -> tensor<?x24xf32>
  return %y, %decided : tensor<?x24xf32>, !moe.routing<? x 4, slots = 2, scope = request>
}

// Later tokens of the same requests.
func.func @decode(%x: tensor<?x24xf32> {moe.name = "x"}, %requests: tensor<?xi32> {moe.name = "requests"},
                  %decided: !moe.routing<? x 4, slots = 2, scope = request> {moe.name = "decided"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %y = call @layers(%x, %requests, %decided) : (tensor<?x24xf32>, tensor<?xi32>, !moe.routing<? x 4, slots = 2, scope = request>)
    -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone, from means.
func.func @choice(%means: tensor<?x4xf32> {moe.name = "means"}) -> (!moe.routing<? x 4, slots = 2, scope = request> {moe.name = "decided"}) {
  %decided = call @choose(%means) : (tensor<?x4xf32>) -> !moe.routing<? x 4, slots = 2, scope = request>
  return %decided : !moe.routing<? x 4, slots = 2, scope = request>
}

// The same divisor where the sum is small, which a softmax over four experts never gives: shares of 1 are at least 0.5.
func.func @shares(%scores: tensor<?x4xf32> {moe.name = "scores"}) -> (!moe.routing<? x 4, slots = 2, scope = request> {moe.name = "decided"}) {
  %decided = moe.select %scores policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.sum_to_one<epsilon = 1.0e-09 : f32>)
    scope(request) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2, scope = request>
  return %decided : !moe.routing<? x 4, slots = 2, scope = request>
}
