// RUN: %systems %moe_bin %t %s
//
// LibMoE's routers. Shown is the perturbed cosine one: similarities with norms made larger by 0.1, divided by 0.3, a softmax,
// the best two, and a second softmax over their probabilities. Accounts differ on the linear one; its code takes the best
// first and the softmax after (@linear). Plain cosine and sigmoid bodies are [check] in the catalogue; taken here: cosine as
// the perturbed one with 0, sigmoid scores as they are.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, e) -> (t, e)>
#token = affine_map<(t, e) -> (t)>
#expert = affine_map<(t, e) -> (e)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @libmoe_routers(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %xx_empty = tensor.empty(%tokens) : tensor<?xf32>
  %xx_zero = linalg.fill ins(%zero : f32) outs(%xx_empty : tensor<?xf32>) -> tensor<?xf32>
  %xx = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%xx_zero : tensor<?xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %ww_empty = tensor.empty() : tensor<8xf32>
  %ww_zero = linalg.fill ins(%zero : f32) outs(%ww_empty : tensor<8xf32>) -> tensor<8xf32>
  %ww = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%router : tensor<8x24xf32>) outs(%ww_zero : tensor<8xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  %cosine = linalg.generic {indexing_maps = [#id, #token, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %xx, %ww : tensor<?x8xf32>, tensor<?xf32>, tensor<8xf32>) outs(%logits_empty : tensor<?x8xf32>) {
  ^bb0(%dot: f32, %row: f32, %key: f32, %unused: f32):
    %theta = arith.constant 1.0e-1 : f32
    %tau = arith.constant 3.0e-1 : f32
    %row_norm = math.sqrt %row : f32
    %key_norm = math.sqrt %key : f32
    %row_size = arith.addf %row_norm, %theta : f32
    %key_size = arith.addf %key_norm, %theta : f32
    %size = arith.mulf %row_size, %key_size : f32
    %similarity = arith.divf %dot, %size : f32
    %logit = arith.divf %similarity, %tau : f32
    linalg.yield %logit : f32
  } -> tensor<?x8xf32>
  %routing = moe.select %cosine policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// One softmax, its weights divided by their sum.
func.func @perturbed_once(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %xx_empty = tensor.empty(%tokens) : tensor<?xf32>
  %xx_zero = linalg.fill ins(%zero : f32) outs(%xx_empty : tensor<?xf32>) -> tensor<?xf32>
  %xx = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%xx_zero : tensor<?xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %ww_empty = tensor.empty() : tensor<8xf32>
  %ww_zero = linalg.fill ins(%zero : f32) outs(%ww_empty : tensor<8xf32>) -> tensor<8xf32>
  %ww = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%router : tensor<8x24xf32>) outs(%ww_zero : tensor<8xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  %cosine = linalg.generic {indexing_maps = [#id, #token, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %xx, %ww : tensor<?x8xf32>, tensor<?xf32>, tensor<8xf32>) outs(%logits_empty : tensor<?x8xf32>) {
  ^bb0(%dot: f32, %row: f32, %key: f32, %unused: f32):
    %theta = arith.constant 1.0e-1 : f32
    %tau = arith.constant 3.0e-1 : f32
    %row_norm = math.sqrt %row : f32
    %key_norm = math.sqrt %key : f32
    %row_size = arith.addf %row_norm, %theta : f32
    %key_size = arith.addf %key_norm, %theta : f32
    %size = arith.mulf %row_size, %key_size : f32
    %similarity = arith.divf %dot, %size : f32
    %logit = arith.divf %similarity, %tau : f32
    linalg.yield %logit : f32
  } -> tensor<?x8xf32>
  %routing = moe.select %cosine policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Cosine, not perturbed.
func.func @cosine(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %xx_empty = tensor.empty(%tokens) : tensor<?xf32>
  %xx_zero = linalg.fill ins(%zero : f32) outs(%xx_empty : tensor<?xf32>) -> tensor<?xf32>
  %xx = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%xx_zero : tensor<?xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %ww_empty = tensor.empty() : tensor<8xf32>
  %ww_zero = linalg.fill ins(%zero : f32) outs(%ww_empty : tensor<8xf32>) -> tensor<8xf32>
  %ww = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%router : tensor<8x24xf32>) outs(%ww_zero : tensor<8xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  %cosine = linalg.generic {indexing_maps = [#id, #token, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %xx, %ww : tensor<?x8xf32>, tensor<?xf32>, tensor<8xf32>) outs(%logits_empty : tensor<?x8xf32>) {
  ^bb0(%dot: f32, %row: f32, %key: f32, %unused: f32):
    %theta = arith.constant 0.0 : f32
    %tau = arith.constant 3.0e-1 : f32
    %row_norm = math.sqrt %row : f32
    %key_norm = math.sqrt %key : f32
    %row_size = arith.addf %row_norm, %theta : f32
    %key_size = arith.addf %key_norm, %theta : f32
    %size = arith.mulf %row_size, %key_size : f32
    %similarity = arith.divf %dot, %size : f32
    %logit = arith.divf %similarity, %tau : f32
    linalg.yield %logit : f32
  } -> tensor<?x8xf32>
  %routing = moe.select %cosine policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Linear: a softmax over the chosen logits.
func.func @linear(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The same in the other order.
func.func @linear_before(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Sigmoid.
func.func @sigmoid(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.sigmoid) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The hyper router: its weight comes from an embedding by a frozen network, here when the layer runs.
func.func @hyper(%x: tensor<?x24xf32> {moe.name = "x"}, %embedding: tensor<8x4xf32> {moe.name = "embedding"},
                 %network: tensor<24x4xf32> {moe.name = "network"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %made_empty = tensor.empty() : tensor<8x24xf32>
  %made_zero = linalg.fill ins(%zero : f32) outs(%made_empty : tensor<8x24xf32>) -> tensor<8x24xf32>
  %made = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%embedding, %network : tensor<8x4xf32>, tensor<24x4xf32>) outs(%made_zero : tensor<8x24xf32>) -> tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %made : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The same with the weight made before.
func.func @folded(%x: tensor<?x24xf32> {moe.name = "x"}, %made: tensor<8x24xf32> {moe.name = "made"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %made : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
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
  return %y : tensor<?x24xf32>
}
