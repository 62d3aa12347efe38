// RUN: %systems %moe_bin %t %s
//
// Octavius: a request is routed once, by the mean of the router's logits over its instruction tokens, and all low-rank
// experts of all layers use that choice, beside a frozen linear layer. Two layers here. Requests of a batch do not mix.
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

func.func @octavius(%x: tensor<?x24xf32> {moe.name = "x"}, %requests: tensor<?xi32> {moe.name = "requests"},
                    %instruction: tensor<?xf32> {moe.name = "instruction"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %base0 = ml_program.global_load_const @base0 : tensor<24x24xf32>
  %a0 = ml_program.global_load_const @a0 : !moe.bank<tensor<4x4x24xf32>>
  %b0 = ml_program.global_load_const @b0 : !moe.bank<tensor<4x24x4xf32>>
  %base1 = ml_program.global_load_const @base1 : tensor<24x24xf32>
  %a1 = ml_program.global_load_const @a1 : !moe.bank<tensor<4x4x24xf32>>
  %b1 = ml_program.global_load_const @b1 : !moe.bank<tensor<4x24x4xf32>>
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
  // Shown:
  %chosen = moe.select %mean policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one<epsilon = 1.0e-09 : f32>)
    : tensor<3x4xf32> -> !moe.routing<3 x 4, slots = 2>
  %ids, %shares = moe.routing_parts %chosen : !moe.routing<3 x 4, slots = 2> -> tensor<3x2xi32>, tensor<3x2xf32>
  %pair_empty = tensor.empty(%tokens) : tensor<?x2xf32>
  %weights = moe.gather ins(%shares : tensor<3x2xf32>) at(%requests : tensor<?xi32>) outs(%pair_empty : tensor<?x2xf32>) -> tensor<?x2xf32>
  %number_empty = tensor.empty() : tensor<3x2xf32>
  %numbers = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%ids : tensor<3x2xi32>) outs(%number_empty : tensor<3x2xf32>) {
  ^bb0(%id: i32, %unused: f32):
    %number = arith.sitofp %id : i32 to f32
    linalg.yield %number : f32
  } -> tensor<3x2xf32>
  %own_numbers = moe.gather ins(%numbers : tensor<3x2xf32>) at(%requests : tensor<?xi32>) outs(%pair_empty : tensor<?x2xf32>) -> tensor<?x2xf32>
  %own_empty = tensor.empty(%tokens) : tensor<?x2xi32>
  %own_ids = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%own_numbers : tensor<?x2xf32>) outs(%own_empty : tensor<?x2xi32>) {
  ^bb0(%number: f32, %unused: i32):
    %id = arith.fptosi %number : f32 to i32
    linalg.yield %id : i32
  } -> tensor<?x2xi32>
  %routing = moe.make_routing %own_ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 4, slots = 2>
  %x1 = call @layer(%x, %routing, %base0, %a0, %b0) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>, tensor<24x24xf32>, !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
    -> tensor<?x24xf32>
  %x2 = call @layer(%x1, %routing, %base1, %a1, %b1) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>, tensor<24x24xf32>, !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
    -> tensor<?x24xf32>
  return %x2 : tensor<?x24xf32>
}
