// RUN: %systems %moe_bin %t %s
//
// MaskMoE: a table says for each word of the vocabulary which experts its tokens may use: -inf is added to the logits of all
// others, before the softmax. Rare words see one expert, whose weight is then 1; frequent ones see several.
//
// Reading: the paper says how the mask is drawn (each word's visible experts, uniformly) and that it is added to the logits;
// the weight of the one expert that is chosen is its softmax score, as in the layer it changes. Without a shared expert.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<6x24xf32>>) : tensor<6x24xf32>
ml_program.global private @masks(#moe.source<"masks", tensor<11x6xf32>>) : tensor<11x6xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<6x20x24xf32>>]>) : !moe.bank<tensor<6x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<6x24x20xf32>>]>) : !moe.bank<tensor<6x24x20xf32>>

func.func @maskmoe(%x: tensor<?x24xf32> {moe.name = "x"}, %words: tensor<?xi32> {moe.name = "words"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<6x24xf32>
  %masks = ml_program.global_load_const @masks : tensor<11x6xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<6x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<6x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<6x24xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  // Shown:
  %mask_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %mask = moe.gather ins(%masks : tensor<11x6xf32>) at(%words : tensor<?xi32>) outs(%mask_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %visible = arith.addf %logits, %mask : tensor<?x6xf32>
  %routing = moe.select %visible policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 1>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 1>)
         banks(%up, %down : !moe.bank<tensor<6x20x24xf32>>, !moe.bank<tensor<6x24x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %u: tensor<20x24xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<20x24xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x20xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}

// The layer without masks.
func.func @unmasked(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<6x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<6x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<6x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<6x24xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 1>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 1>)
         banks(%up, %down : !moe.bank<tensor<6x20x24xf32>>, !moe.bank<tensor<6x24x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %u: tensor<20x24xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<20x24xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x20xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
