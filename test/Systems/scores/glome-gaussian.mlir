// RUN: %systems %moe_bin %t %s
//
// GLoME: experts are linear regressions, the gate is how well a Gaussian of each explains the input, all experts run. The gate
// family is [sure], the formula [check] in the catalogue; taken here: softmax of log pi_k - log|S_k| / 2 - (x - c_k)' S_k^-1
// (x - c_k) / 2, S_k^-1 = L_k' L_k kept as L_k, the constants as one number a Gaussian. The mean of the mixture is the result.

#diff_x = affine_map<(t, k, i, j) -> (t, j)>
#diff_c = affine_map<(t, k, i, j) -> (k, j)>
#factor = affine_map<(t, k, i, j) -> (k, i, j)>
#whitened = affine_map<(t, k, i, j) -> (t, k, i)>
#triple = affine_map<(t, k, i) -> (t, k, i)>
#pair = affine_map<(t, k, i) -> (t, k)>
#id = affine_map<(t, k) -> (t, k)>
#expert = affine_map<(t, k) -> (k)>
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router_factor(#moe.source<"router_factor", tensor<5x6x6xf32>>) : tensor<5x6x6xf32>
ml_program.global private @router_center(#moe.source<"router_center", tensor<5x6xf32>>) : tensor<5x6xf32>
ml_program.global private @router_offset(#moe.source<"router_offset", tensor<5xf32>>) : tensor<5xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<5x6x6xf32>>]>) : !moe.bank<tensor<5x6x6xf32>>
ml_program.global private @shift(#moe.bank_recipe<[#moe.source<"shift", tensor<5x6xf32>>]>) : !moe.bank<tensor<5x6xf32>>

func.func @glome_gaussian(%x: tensor<?x6xf32> {moe.name = "x"}) -> (tensor<?x6xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x6xf32>
  %router_factor = ml_program.global_load_const @router_factor : tensor<5x6x6xf32>
  %router_center = ml_program.global_load_const @router_center : tensor<5x6xf32>
  %router_offset = ml_program.global_load_const @router_offset : tensor<5xf32>
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<5x6x6xf32>>
  %shift = ml_program.global_load_const @shift : !moe.bank<tensor<5x6xf32>>
  // whitened[t, k] = L_k (x_t - c_k)
  %w_empty = tensor.empty(%tokens) : tensor<?x5x6xf32>
  %w_zero = linalg.fill ins(%zero : f32) outs(%w_empty : tensor<?x5x6xf32>) -> tensor<?x5x6xf32>
  %whitened = linalg.generic {indexing_maps = [#diff_x, #diff_c, #factor, #whitened],
                              iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
    ins(%x, %router_center, %router_factor : tensor<?x6xf32>, tensor<5x6xf32>, tensor<5x6x6xf32>)
    outs(%w_zero : tensor<?x5x6xf32>) {
  ^bb0(%own: f32, %center: f32, %factor: f32, %sum: f32):
    %distance = arith.subf %own, %center : f32
    %more = math.fma %factor, %distance, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?x5x6xf32>
  // logits[t, k] = log pi_k - log|S_k| / 2 - |whitened|^2 / 2
  %s_empty = tensor.empty(%tokens) : tensor<?x5xf32>
  %s_zero = linalg.fill ins(%zero : f32) outs(%s_empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  %squares = linalg.generic {indexing_maps = [#triple, #pair], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%whitened : tensor<?x5x6xf32>) outs(%s_zero : tensor<?x5xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?x5xf32>
  %logits = linalg.generic {indexing_maps = [#id, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%squares, %router_offset : tensor<?x5xf32>, tensor<5xf32>) outs(%s_empty : tensor<?x5xf32>) {
  ^bb0(%square: f32, %offset: f32, %unused: f32):
    %half = arith.constant -5.0e-1 : f32
    %logit = math.fma %square, %half, %offset : f32
    linalg.yield %logit : f32
  } -> tensor<?x5xf32>
  // Shown:
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x5xf32> -> !moe.routing<? x 5, slots = 5>
  %y = moe.experts rows(%x : tensor<?x6xf32>) routed_by(%routing : !moe.routing<? x 5, slots = 5>)
         banks(%expert, %shift : !moe.bank<tensor<5x6x6xf32>>, !moe.bank<tensor<5x6xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x6xf32> {
  ^bb0(%own: tensor<?x6xf32>, %matrix: tensor<6x6xf32>, %constant: tensor<6xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x6xf32>
    %slope_empty = tensor.empty(%count) : tensor<?x6xf32>
    %slope_zero = linalg.fill ins(%none : f32) outs(%slope_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
    %slope = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %matrix : tensor<?x6xf32>, tensor<6x6xf32>) outs(%slope_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
    %mean = linalg.generic {indexing_maps = [#id, #expert, #id], iterator_types = ["parallel", "parallel"]}
      ins(%slope, %constant : tensor<?x6xf32>, tensor<6xf32>) outs(%slope_empty : tensor<?x6xf32>) {
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %sum = arith.addf %a, %b : f32
      linalg.yield %sum : f32
    } -> tensor<?x6xf32>
    moe.yield %mean : tensor<?x6xf32>
  }
  return %y : tensor<?x6xf32>
}

// A linear router with a bias, its weights given.
func.func @linear(%x: tensor<?x6xf32> {moe.name = "x"}, %weight: tensor<5x6xf32> {moe.name = "weight"},
                  %bias: tensor<5xf32> {moe.name = "bias"}) -> (tensor<?x5xi32> {moe.name = "ids"}, tensor<?x5xf32> {moe.name = "weights"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x6xf32>
  %product_empty = tensor.empty(%tokens) : tensor<?x5xf32>
  %product_zero = linalg.fill ins(%zero : f32) outs(%product_empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  %product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %weight : tensor<?x6xf32>, tensor<5x6xf32>) outs(%product_zero : tensor<?x5xf32>) -> tensor<?x5xf32>
  %logits = linalg.generic {indexing_maps = [#id, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%product, %bias : tensor<?x5xf32>, tensor<5xf32>) outs(%product_empty : tensor<?x5xf32>) {
  ^bb0(%a: f32, %b: f32, %unused: f32):
    %sum = arith.addf %a, %b : f32
    linalg.yield %sum : f32
  } -> tensor<?x5xf32>
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x5xf32> -> !moe.routing<? x 5, slots = 5>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 5, slots = 5> -> tensor<?x5xi32>, tensor<?x5xf32>
  return %ids, %weights : tensor<?x5xi32>, tensor<?x5xf32>
}
