// RUN: %systems %moe_bin %t %s
//
// Nexus: the router's rows are made from embeddings of the experts' domains by a small network, so that an expert appended
// later brings its row; the original dense layer is the shared expert. The mixture is [check] in the catalogue; taken here:
// softmax over all experts, the best two, raw weights.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, e) -> (t, e)>
#expert = affine_map<(t, e) -> (e)>

ml_program.global private @router_up(#moe.source<"router_up", tensor<12x4xf32>>) : tensor<12x4xf32>
ml_program.global private @router_down(#moe.source<"router_down", tensor<24x12xf32>>) : tensor<24x12xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>
ml_program.global private @shared(#moe.source<"shared", tensor<24x24xf32>>) : tensor<24x24xf32>

func.func @nexus_domain_router(%x: tensor<?x24xf32> {moe.name = "x"}, %domains: tensor<8x4xf32> {moe.name = "domains"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router_up = ml_program.global_load_const @router_up : tensor<12x4xf32>
  %router_down = ml_program.global_load_const @router_down : tensor<24x12xf32>
  // One row of the router for each domain: a small network of two layers.
  %up_empty = tensor.empty() : tensor<8x12xf32>
  %up_zero = linalg.fill ins(%zero : f32) outs(%up_empty : tensor<8x12xf32>) -> tensor<8x12xf32>
  %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%domains, %router_up : tensor<8x4xf32>, tensor<12x4xf32>) outs(%up_zero : tensor<8x12xf32>) -> tensor<8x12xf32>
  %active = arith.maximumf %raised, %up_zero : tensor<8x12xf32>
  %r_empty = tensor.empty() : tensor<8x24xf32>
  %r_zero = linalg.fill ins(%zero : f32) outs(%r_empty : tensor<8x24xf32>) -> tensor<8x24xf32>
  %router = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%active, %router_down : tensor<8x12xf32>, tensor<24x12xf32>) outs(%r_zero : tensor<8x24xf32>) -> tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The router's rows made before.
func.func @folded(%x: tensor<?x24xf32> {moe.name = "x"}, %router: tensor<8x24xf32> {moe.name = "router"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Room for experts to come: `mask` is 0 for those that are there, negative infinity for the others.
func.func @extensible(%x: tensor<?x24xf32> {moe.name = "x"}, %router: tensor<8x24xf32> {moe.name = "router"},
                      %mask: tensor<8xf32> {moe.name = "mask"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %masked = linalg.generic {indexing_maps = [#id, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %mask : tensor<?x8xf32>, tensor<8xf32>) outs(%logits_empty : tensor<?x8xf32>) {
  ^bb0(%a: f32, %b: f32, %unused: f32):
    %sum = arith.addf %a, %b : f32
    linalg.yield %sum : f32
  } -> tensor<?x8xf32>
  %routing = moe.select %masked policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func private @layer(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %routed = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%expert : !moe.bank<tensor<8x24x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %matrix: tensor<24x24xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x24xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %matrix : tensor<?x24xf32>, tensor<24x24xf32>) outs(%raised_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x24xf32>
    moe.yield %h : tensor<?x24xf32>
  }
  %shared = ml_program.global_load_const @shared : tensor<24x24xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %both_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %both_zero = linalg.fill ins(%zero : f32) outs(%both_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %both = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %shared : tensor<?x24xf32>, tensor<24x24xf32>) outs(%both_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %shared_out = arith.maximumf %both, %both_zero : tensor<?x24xf32>
  %y = arith.addf %routed, %shared_out : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
