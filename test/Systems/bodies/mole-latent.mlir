// RUN: %systems %moe_bin %t %s
//
// MoLE: latent experts. An expert's gate and up are A_e B_g, B_g being shared by the two experts of a group: B x is computed
// once for all tokens, and only the narrow latents travel to the experts. Groups are classes, which pick their columns.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @latent_b_gate(#moe.source<"latent_b_gate", tensor<16x24xf32>>) : tensor<16x24xf32>
ml_program.global private @latent_b_up(#moe.source<"latent_b_up", tensor<16x24xf32>>) : tensor<16x24xf32>
ml_program.global private @a_gate(#moe.bank_recipe<[#moe.source<"a_gate", tensor<4x20x8xf32>>]>) : !moe.bank<tensor<4x20x8xf32>>
ml_program.global private @a_up(#moe.bank_recipe<[#moe.source<"a_up", tensor<4x20x8xf32>>]>) : !moe.bank<tensor<4x20x8xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x24x20xf32>>]>) : !moe.bank<tensor<4x24x20xf32>>
// The same experts with whole matrices A_e B_g.
ml_program.global private @gate_whole(#moe.bank_recipe<[#moe.source<"gate_whole", tensor<4x20x24xf32>>]>) : !moe.bank<tensor<4x20x24xf32>>
ml_program.global private @up_whole(#moe.bank_recipe<[#moe.source<"up_whole", tensor<4x20x24xf32>>]>) : !moe.bank<tensor<4x20x24xf32>>

func.func @mole_latent(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %latent_b_gate = ml_program.global_load_const @latent_b_gate : tensor<16x24xf32>
  %latent_b_up = ml_program.global_load_const @latent_b_up : tensor<16x24xf32>
  %a_gate = ml_program.global_load_const @a_gate : !moe.bank<tensor<4x20x8xf32>>
  %a_up = ml_program.global_load_const @a_up : !moe.bank<tensor<4x20x8xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %latent_gate_empty = tensor.empty(%tokens) : tensor<?x16xf32>
  %latent_gate_zero = linalg.fill ins(%zero : f32) outs(%latent_gate_empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  %latent_gate = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %latent_b_gate : tensor<?x24xf32>, tensor<16x24xf32>) outs(%latent_gate_zero : tensor<?x16xf32>) -> tensor<?x16xf32>
  %latent_up_empty = tensor.empty(%tokens) : tensor<?x16xf32>
  %latent_up_zero = linalg.fill ins(%zero : f32) outs(%latent_up_empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  %latent_up = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %latent_b_up : tensor<?x24xf32>, tensor<16x24xf32>) outs(%latent_up_zero : tensor<?x16xf32>) -> tensor<?x16xf32>
  // Shown:
  %y = moe.experts rows(%latent_gate, %latent_up : tensor<?x16xf32>, tensor<?x16xf32>)
         routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%a_gate, %a_up, %down : !moe.bank<tensor<4x20x8xf32>>, !moe.bank<tensor<4x20x8xf32>>, !moe.bank<tensor<4x24x20xf32>>)
         combine(#moe.weighted_sum) classes([0, 0, 1, 1]) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x16xf32>, %own_up: tensor<?x16xf32>, %ag: tensor<20x8xf32>, %au: tensor<20x8xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x16xf32>
    %part = tensor.extract_slice %own[0, 0] [%count, 8] [1, 1] : tensor<?x16xf32> to tensor<?x8xf32>
    %part_up = tensor.extract_slice %own_up[0, 0] [%count, 8] [1, 1] : tensor<?x16xf32> to tensor<?x8xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x20xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%part, %ag : tensor<?x8xf32>, tensor<20x8xf32>) outs(%gated_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%part_up, %au : tensor<?x8xf32>, tensor<20x8xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
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
  ^bb0(%own: tensor<?x16xf32>, %own_up: tensor<?x16xf32>, %ag: tensor<20x8xf32>, %au: tensor<20x8xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x16xf32>
    %part = tensor.extract_slice %own[0, 8] [%count, 8] [1, 1] : tensor<?x16xf32> to tensor<?x8xf32>
    %part_up = tensor.extract_slice %own_up[0, 8] [%count, 8] [1, 1] : tensor<?x16xf32> to tensor<?x8xf32>
    %gated_empty = tensor.empty(%count) : tensor<?x20xf32>
    %gated_zero = linalg.fill ins(%none : f32) outs(%gated_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%part, %ag : tensor<?x8xf32>, tensor<20x8xf32>) outs(%gated_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%part_up, %au : tensor<?x8xf32>, tensor<20x8xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
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
  }
  return %y : tensor<?x24xf32>
}

func.func @whole(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %gate_whole = ml_program.global_load_const @gate_whole : !moe.bank<tensor<4x20x24xf32>>
  %up_whole = ml_program.global_load_const @up_whole : !moe.bank<tensor<4x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%gate_whole, %up_whole, %down : !moe.bank<tensor<4x20x24xf32>>, !moe.bank<tensor<4x20x24xf32>>, !moe.bank<tensor<4x24x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
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
  }
  return %y : tensor<?x24xf32>
}
