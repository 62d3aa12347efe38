// RUN: %systems %moe_bin %t %s
//
// MixLoRA: experts are low-rank changes of one gated block that all share. Base products of gate and up are computed once
// for all tokens and travel with the rows; what is left for each expert are its two narrow products.
//
// Reading: no factor alpha / r, as in the formula; it would be part of B.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @base_gate(#moe.source<"base_gate", tensor<32x24xf32>>) : tensor<32x24xf32>
ml_program.global private @base_up(#moe.source<"base_up", tensor<32x24xf32>>) : tensor<32x24xf32>
ml_program.global private @base_down(#moe.source<"base_down", tensor<24x32xf32>>) : tensor<24x32xf32>
ml_program.global private @a_gate(#moe.bank_recipe<[#moe.source<"a_gate", tensor<4x4x24xf32>>]>) : !moe.bank<tensor<4x4x24xf32>>
ml_program.global private @b_gate(#moe.bank_recipe<[#moe.source<"b_gate", tensor<4x32x4xf32>>]>) : !moe.bank<tensor<4x32x4xf32>>
ml_program.global private @a_up(#moe.bank_recipe<[#moe.source<"a_up", tensor<4x4x24xf32>>]>) : !moe.bank<tensor<4x4x24xf32>>
ml_program.global private @b_up(#moe.bank_recipe<[#moe.source<"b_up", tensor<4x32x4xf32>>]>) : !moe.bank<tensor<4x32x4xf32>>
ml_program.global private @a_down(#moe.bank_recipe<[#moe.source<"a_down", tensor<4x4x32xf32>>]>) : !moe.bank<tensor<4x4x32xf32>>
ml_program.global private @b_down(#moe.bank_recipe<[#moe.source<"b_down", tensor<4x24x4xf32>>]>) : !moe.bank<tensor<4x24x4xf32>>
// The same experts as whole matrices: base + B A.
ml_program.global private @gate_whole(#moe.bank_recipe<[#moe.source<"gate_whole", tensor<4x32x24xf32>>]>) : !moe.bank<tensor<4x32x24xf32>>
ml_program.global private @up_whole(#moe.bank_recipe<[#moe.source<"up_whole", tensor<4x32x24xf32>>]>) : !moe.bank<tensor<4x32x24xf32>>
ml_program.global private @down_whole(#moe.bank_recipe<[#moe.source<"down_whole", tensor<4x24x32xf32>>]>) : !moe.bank<tensor<4x24x32xf32>>

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 4, slots = 2>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %base_gate = ml_program.global_load_const @base_gate : tensor<32x24xf32>
  %base_up = ml_program.global_load_const @base_up : tensor<32x24xf32>
  %base_down = ml_program.global_load_const @base_down : tensor<24x32xf32>
  %a_gate = ml_program.global_load_const @a_gate : !moe.bank<tensor<4x4x24xf32>>
  %b_gate = ml_program.global_load_const @b_gate : !moe.bank<tensor<4x32x4xf32>>
  %a_up = ml_program.global_load_const @a_up : !moe.bank<tensor<4x4x24xf32>>
  %b_up = ml_program.global_load_const @b_up : !moe.bank<tensor<4x32x4xf32>>
  %a_down = ml_program.global_load_const @a_down : !moe.bank<tensor<4x4x32xf32>>
  %b_down = ml_program.global_load_const @b_down : !moe.bank<tensor<4x24x4xf32>>
  %gate_empty = tensor.empty(%tokens) : tensor<?x32xf32>
  %gate_zero = linalg.fill ins(%zero : f32) outs(%gate_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
  %gate = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %base_gate : tensor<?x24xf32>, tensor<32x24xf32>) outs(%gate_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
  %up_empty = tensor.empty(%tokens) : tensor<?x32xf32>
  %up_zero = linalg.fill ins(%zero : f32) outs(%up_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
  %up = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %base_up : tensor<?x24xf32>, tensor<32x24xf32>) outs(%up_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
  // Shown:
  %y = moe.experts rows(%x, %gate, %up : tensor<?x24xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
         routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%a_gate, %b_gate, %a_up, %b_up, %a_down, %b_down :
           !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x32x4xf32>>, !moe.bank<tensor<4x4x24xf32>>,
           !moe.bank<tensor<4x32x4xf32>>, !moe.bank<tensor<4x4x32xf32>>, !moe.bank<tensor<4x24x4xf32>>)
         shared(%base_down : tensor<24x32xf32>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %own_gate: tensor<?x32xf32>, %own_up: tensor<?x32xf32>, %ag: tensor<4x24xf32>, %bg: tensor<32x4xf32>,
       %au: tensor<4x24xf32>, %bu: tensor<32x4xf32>, %ad: tensor<4x32xf32>, %bd: tensor<24x4xf32>, %down: tensor<24x32xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %low_gate_empty = tensor.empty(%count) : tensor<?x4xf32>
    %low_gate_zero = linalg.fill ins(%none : f32) outs(%low_gate_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %low_gate = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %ag : tensor<?x24xf32>, tensor<4x24xf32>) outs(%low_gate_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %delta_gate_empty = tensor.empty(%count) : tensor<?x32xf32>
    %delta_gate_zero = linalg.fill ins(%none : f32) outs(%delta_gate_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
    %delta_gate = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%low_gate, %bg : tensor<?x4xf32>, tensor<32x4xf32>) outs(%delta_gate_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
    %low_up_empty = tensor.empty(%count) : tensor<?x4xf32>
    %low_up_zero = linalg.fill ins(%none : f32) outs(%low_up_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %low_up = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %au : tensor<?x24xf32>, tensor<4x24xf32>) outs(%low_up_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %delta_up_empty = tensor.empty(%count) : tensor<?x32xf32>
    %delta_up_zero = linalg.fill ins(%none : f32) outs(%delta_up_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
    %delta_up = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%low_up, %bu : tensor<?x4xf32>, tensor<32x4xf32>) outs(%delta_up_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
    %gated = arith.addf %own_gate, %delta_gate : tensor<?x32xf32>
    %raised = arith.addf %own_up, %delta_up : tensor<?x32xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x32xf32>, tensor<?x32xf32>) outs(%delta_gate_empty : tensor<?x32xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x32xf32>
    %base_empty = tensor.empty(%count) : tensor<?x24xf32>
    %base_zero = linalg.fill ins(%none : f32) outs(%base_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %base = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %down : tensor<?x32xf32>, tensor<24x32xf32>) outs(%base_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %low_down_empty = tensor.empty(%count) : tensor<?x4xf32>
    %low_down_zero = linalg.fill ins(%none : f32) outs(%low_down_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %low_down = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %ad : tensor<?x32xf32>, tensor<4x32xf32>) outs(%low_down_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %delta_down_empty = tensor.empty(%count) : tensor<?x24xf32>
    %delta_down_zero = linalg.fill ins(%none : f32) outs(%delta_down_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %delta_down = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%low_down, %bd : tensor<?x4xf32>, tensor<24x4xf32>) outs(%delta_down_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %sum = arith.addf %base, %delta_down : tensor<?x24xf32>
    moe.yield %sum : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}

func.func @mixlora(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %y = call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @given(%x: tensor<?x24xf32> {moe.name = "x"},
                 %ids: tensor<?x2xi32> {moe.name = "ids"}, %share: tensor<?x2xf32> {moe.name = "share"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %routing = moe.make_routing %ids, %share : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 4, slots = 2>
  %y = call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @whole(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %gate_whole = ml_program.global_load_const @gate_whole : !moe.bank<tensor<4x32x24xf32>>
  %up_whole = ml_program.global_load_const @up_whole : !moe.bank<tensor<4x32x24xf32>>
  %down_whole = ml_program.global_load_const @down_whole : !moe.bank<tensor<4x24x32xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%gate_whole, %up_whole, %down_whole : !moe.bank<tensor<4x32x24xf32>>, !moe.bank<tensor<4x32x24xf32>>, !moe.bank<tensor<4x24x32xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<32x24xf32>, %u: tensor<32x24xf32>, %d: tensor<24x32xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x32xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<32x24xf32>) outs(%gated_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x32xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x32xf32>) -> tensor<?x32xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<32x24xf32>) outs(%raised_zero : tensor<?x32xf32>) -> tensor<?x32xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x32xf32>, tensor<?x32xf32>) outs(%gated_empty : tensor<?x32xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x32xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x32xf32>, tensor<24x32xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
