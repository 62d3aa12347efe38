// RUN: %systems %moe_bin %t %s
//
// HMoE: experts of unequal width. Three classes, each with banks of its own: nothing is padded, nothing computed in vain.
//
// Reading: the paper's code is not public. Softmax over all experts, the two highest, weights as they are (the paper takes
// top-p from a system that keeps them), gated experts with silu.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @gate0(#moe.bank_recipe<[#moe.source<"gate0", tensor<2x8x24xf32>>]>) : !moe.bank<tensor<2x8x24xf32>>
ml_program.global private @up0(#moe.bank_recipe<[#moe.source<"up0", tensor<2x8x24xf32>>]>) : !moe.bank<tensor<2x8x24xf32>>
ml_program.global private @down0(#moe.bank_recipe<[#moe.source<"down0", tensor<2x24x8xf32>>]>) : !moe.bank<tensor<2x24x8xf32>>
ml_program.global private @gate1(#moe.bank_recipe<[#moe.source<"gate1", tensor<1x20x24xf32>>]>) : !moe.bank<tensor<1x20x24xf32>>
ml_program.global private @up1(#moe.bank_recipe<[#moe.source<"up1", tensor<1x20x24xf32>>]>) : !moe.bank<tensor<1x20x24xf32>>
ml_program.global private @down1(#moe.bank_recipe<[#moe.source<"down1", tensor<1x24x20xf32>>]>) : !moe.bank<tensor<1x24x20xf32>>
ml_program.global private @gate2(#moe.bank_recipe<[#moe.source<"gate2", tensor<1x40x24xf32>>]>) : !moe.bank<tensor<1x40x24xf32>>
ml_program.global private @up2(#moe.bank_recipe<[#moe.source<"up2", tensor<1x40x24xf32>>]>) : !moe.bank<tensor<1x40x24xf32>>
ml_program.global private @down2(#moe.bank_recipe<[#moe.source<"down2", tensor<1x24x40xf32>>]>) : !moe.bank<tensor<1x24x40xf32>>
// The same experts, padded with zeros to the largest width.
ml_program.global private @gate_padded(#moe.bank_recipe<[#moe.source<"gate_padded", tensor<4x40x24xf32>>]>) : !moe.bank<tensor<4x40x24xf32>>
ml_program.global private @up_padded(#moe.bank_recipe<[#moe.source<"up_padded", tensor<4x40x24xf32>>]>) : !moe.bank<tensor<4x40x24xf32>>
ml_program.global private @down_padded(#moe.bank_recipe<[#moe.source<"down_padded", tensor<4x24x40xf32>>]>) : !moe.bank<tensor<4x24x40xf32>>

func.func @hmoe_ragged(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %gate0 = ml_program.global_load_const @gate0 : !moe.bank<tensor<2x8x24xf32>>
  %up0 = ml_program.global_load_const @up0 : !moe.bank<tensor<2x8x24xf32>>
  %down0 = ml_program.global_load_const @down0 : !moe.bank<tensor<2x24x8xf32>>
  %gate1 = ml_program.global_load_const @gate1 : !moe.bank<tensor<1x20x24xf32>>
  %up1 = ml_program.global_load_const @up1 : !moe.bank<tensor<1x20x24xf32>>
  %down1 = ml_program.global_load_const @down1 : !moe.bank<tensor<1x24x20xf32>>
  %gate2 = ml_program.global_load_const @gate2 : !moe.bank<tensor<1x40x24xf32>>
  %up2 = ml_program.global_load_const @up2 : !moe.bank<tensor<1x40x24xf32>>
  %down2 = ml_program.global_load_const @down2 : !moe.bank<tensor<1x24x40xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%gate0, %up0, %down0, %gate1, %up1, %down1, %gate2, %up2, %down2 :
           !moe.bank<tensor<2x8x24xf32>>, !moe.bank<tensor<2x8x24xf32>>, !moe.bank<tensor<2x24x8xf32>>,
           !moe.bank<tensor<1x20x24xf32>>, !moe.bank<tensor<1x20x24xf32>>, !moe.bank<tensor<1x24x20xf32>>,
           !moe.bank<tensor<1x40x24xf32>>, !moe.bank<tensor<1x40x24xf32>>, !moe.bank<tensor<1x24x40xf32>>)
         combine(#moe.weighted_sum) classes([0, 0, 1, 2]) bank_classes([0, 0, 0, 1, 1, 1, 2, 2, 2]) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<8x24xf32>, %u: tensor<8x24xf32>, %d: tensor<24x8xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x8xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<8x24xf32>) outs(%gated_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x8xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<8x24xf32>) outs(%raised_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x8xf32>, tensor<?x8xf32>) outs(%gated_empty : tensor<?x8xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x8xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x8xf32>, tensor<24x8xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }, {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<20x24xf32>, %u: tensor<20x24xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x20xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<20x24xf32>) outs(%gated_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<20x24xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x20xf32>, tensor<?x20xf32>) outs(%gated_empty : tensor<?x20xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x20xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }, {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<40x24xf32>, %u: tensor<40x24xf32>, %d: tensor<24x40xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x40xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x40xf32>) -> tensor<?x40xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<40x24xf32>) outs(%gated_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x40xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x40xf32>) -> tensor<?x40xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<40x24xf32>) outs(%raised_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x40xf32>, tensor<?x40xf32>) outs(%gated_empty : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x40xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x40xf32>, tensor<24x40xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}

func.func @padded(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %gate_padded = ml_program.global_load_const @gate_padded : !moe.bank<tensor<4x40x24xf32>>
  %up_padded = ml_program.global_load_const @up_padded : !moe.bank<tensor<4x40x24xf32>>
  %down_padded = ml_program.global_load_const @down_padded : !moe.bank<tensor<4x24x40xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%gate_padded, %up_padded, %down_padded : !moe.bank<tensor<4x40x24xf32>>, !moe.bank<tensor<4x40x24xf32>>, !moe.bank<tensor<4x24x40xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<40x24xf32>, %u: tensor<40x24xf32>, %d: tensor<24x40xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x40xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x40xf32>) -> tensor<?x40xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<40x24xf32>) outs(%gated_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x40xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x40xf32>) -> tensor<?x40xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<40x24xf32>) outs(%raised_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x40xf32>, tensor<?x40xf32>) outs(%gated_empty : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %negative = arith.negf %a : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %divisor : f32
      %product = arith.mulf %silu, %b : f32
      linalg.yield %product : f32
    } -> tensor<?x40xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x40xf32>, tensor<24x40xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
