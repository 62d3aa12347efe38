// RUN: %systems %moe_bin %t %s
//
// SCMoE: the model runs twice, once with the two best experts, once with the second best alone; logits are contrasted where
// the first run thinks them likely: (1 + b) z_strong - b z_weak where z_strong >= log(a) + max z_strong, else minus infinity;
// a is 0.1, b 0.5. A layer and a head here.
//
// Reading: the single expert of the second run weighs 1, as its weight divided by its sum.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, v) -> (t, v)>
#token = affine_map<(t, v) -> (t)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>
ml_program.global private @head(#moe.source<"head", tensor<11x24xf32>>) : tensor<11x24xf32>

func.func @scmoe_contrast(%x: tensor<?x24xf32> {moe.name = "x"}, %beta: tensor<1xf32> {moe.name = "beta"})
    -> (tensor<?x11xf32> {moe.name = "logits"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  // Shown:
  %strong = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %weak = moe.select %logits policy(#moe.ranks<[1]>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>

  %both = func.call @experts(%x, %strong) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  %second = func.call @second(%x, %weak) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  %z_strong = func.call @vocabulary(%both) : (tensor<?x24xf32>) -> tensor<?x11xf32>
  %z_weak = func.call @vocabulary(%second) : (tensor<?x24xf32>) -> tensor<?x11xf32>
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %lowest = arith.constant 0xFF800000 : f32
  %most_empty = tensor.empty(%tokens) : tensor<?xf32>
  %most_init = linalg.fill ins(%lowest : f32) outs(%most_empty : tensor<?xf32>) -> tensor<?xf32>
  %most = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%z_strong : tensor<?x11xf32>) outs(%most_init : tensor<?xf32>) {
  ^bb0(%z: f32, %before: f32):
    %after = arith.maximumf %z, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %b = tensor.extract %beta[%c0] : tensor<1xf32>
  %empty = tensor.empty(%tokens) : tensor<?x11xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #token, #id], iterator_types = ["parallel", "parallel"]}
    ins(%z_strong, %z_weak, %most : tensor<?x11xf32>, tensor<?x11xf32>, tensor<?xf32>) outs(%empty : tensor<?x11xf32>) {
  ^bb0(%s: f32, %w: f32, %m: f32, %unused: f32):
    %one = arith.constant 1.0 : f32
    %log_alpha = arith.constant -2.30258509 : f32
    %never = arith.constant 0xFF800000 : f32
    %least = arith.addf %m, %log_alpha : f32
    %likely = arith.cmpf oge, %s, %least : f32
    %more = arith.addf %one, %b : f32
    %for = arith.mulf %more, %s : f32
    %against = arith.mulf %b, %w : f32
    %contrast = arith.subf %for, %against : f32
    %own = arith.select %likely, %contrast, %never : f32
    linalg.yield %own : f32
  } -> tensor<?x11xf32>
  return %y : tensor<?x11xf32>
}

// The first run alone; ranks 0 and 1 are the two best; and ranks that leave some out.
func.func @strong(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x11xf32> {moe.name = "logits"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %both = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  %z = func.call @vocabulary(%both) : (tensor<?x24xf32>) -> tensor<?x11xf32>
  return %z : tensor<?x11xf32>
}

func.func @first_ranks(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x11xf32> {moe.name = "logits"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.ranks<[0, 1]>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %both = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  %z = func.call @vocabulary(%both) : (tensor<?x24xf32>) -> tensor<?x11xf32>
  return %z : tensor<?x11xf32>
}

func.func @some_ranks(%scores: tensor<?x8xf32> {moe.name = "scores"})
    -> (!moe.routing<? x 8, slots = 3> {moe.name = "chosen"}) {
  %routing = moe.select %scores policy(#moe.ranks<[1, 2, 7]>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  return %routing : !moe.routing<? x 8, slots = 3>
}

func.func private @vocabulary(%x: tensor<?x24xf32>) -> tensor<?x11xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %head = ml_program.global_load_const @head : tensor<11x24xf32>
  %empty = tensor.empty(%tokens) : tensor<?x11xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x11xf32>) -> tensor<?x11xf32>
  %z = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %head : tensor<?x24xf32>, tensor<11x24xf32>) outs(%zeros : tensor<?x11xf32>) -> tensor<?x11xf32>
  return %z : tensor<?x11xf32>
}

func.func private @logits(%x: tensor<?x24xf32>) -> tensor<?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %logits : tensor<?x8xf32>
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

func.func private @second(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 1>)
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
