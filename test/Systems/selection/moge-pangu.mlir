// RUN: %systems %moe_bin %t %s
//
// MoGE (Pangu Pro): the best expert of every group, weighed by its probability among all experts and a learned scale of its
// own, beside a shared expert. @voted has the vote that one kind of device adds: of each group only the experts that most
// tokens of the batch would choose are kept (one here; of equals the first), so that tokens depend on one another.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, s) -> (t, s)>
#votes = affine_map<(e, t, s) -> (t, s)>
#count = affine_map<(e, t, s) -> (e)>
#all = affine_map<(e) -> (e)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

ml_program.global private @shared(#moe.source<"shared", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @scale(#moe.source<"scale", tensor<8xf32>>) : tensor<8xf32>

func.func @moge_pangu(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %chosen = moe.select %logits policy(#moe.per_group_top_k<k = 1, groups = 4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %scores = moe.routing_parts %chosen : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %scale = ml_program.global_load_const @scale : tensor<8xf32>
  %weights_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %weights = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%ids, %scores : tensor<?x4xi32>, tensor<?x4xf32>) outs(%weights_empty : tensor<?x4xf32>) {
  ^bb0(%expert: i32, %score: f32, %unused: f32):
    %index = arith.index_cast %expert : i32 to index
    %own = tensor.extract %scale[%index] : tensor<8xf32>
    %weight = arith.mulf %score, %own : f32
    linalg.yield %weight : f32
  } -> tensor<?x4xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32> -> !moe.routing<? x 8, slots = 4>
  %routed = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 4>) -> tensor<?x24xf32>
  %shared = ml_program.global_load_const @shared : tensor<24x24xf32>
  %both_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %both_zero = linalg.fill ins(%zero : f32) outs(%both_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %both = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %shared : tensor<?x24xf32>, tensor<24x24xf32>) outs(%both_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %shared_out = arith.maximumf %both, %both_zero : tensor<?x24xf32>
  %y = arith.addf %routed, %shared_out : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone; what it is not: groups chosen first; and with one group.
func.func @choice(%logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x4xi32> {moe.name = "ids"}, tensor<?x4xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.per_group_top_k<k = 1, groups = 4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32>
}

func.func @group_limited(%logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x4xi32> {moe.name = "ids"}, tensor<?x4xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.group_limited_top_k<k = 4, groups = 4, keep = 2, judge = max>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32>
}

func.func @one_group(%logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x4xi32> {moe.name = "ids"}, tensor<?x4xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.per_group_top_k<k = 4, groups = 1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32>
}

func.func @top_4(%logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x4xi32> {moe.name = "ids"}, tensor<?x4xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32>
}

// The choice among the experts that the batch votes for: a bias of negative infinity for all others.
func.func @voted(%logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x4xi32> {moe.name = "ids"}, tensor<?x4xf32> {moe.name = "weights"}) {
  %first = moe.select %logits policy(#moe.per_group_top_k<k = 1, groups = 4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %wanted, %scores = moe.routing_parts %first : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  %zero = arith.constant 0.0 : f32
  %votes_empty = tensor.empty() : tensor<8xf32>
  %votes_zero = linalg.fill ins(%zero : f32) outs(%votes_empty : tensor<8xf32>) -> tensor<8xf32>
  %votes = linalg.generic {indexing_maps = [#votes, #count], iterator_types = ["parallel", "reduction", "reduction"]}
    ins(%wanted : tensor<?x4xi32>) outs(%votes_zero : tensor<8xf32>) {
  ^bb0(%expert: i32, %before: f32):
    %number = linalg.index 0 : index
    %this = arith.index_cast %number : index to i32
    %is_for = arith.cmpi eq, %expert, %this : i32
    %one = arith.constant 1.0 : f32
    %more = arith.addf %before, %one : f32
    %after = arith.select %is_for, %more, %before : f32
    linalg.yield %after : f32
  } -> tensor<8xf32>
  %row = tensor.expand_shape %votes [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %kept = moe.select %row policy(#moe.per_group_top_k<k = 1, groups = 4>) score(#moe.identity) normalize(#moe.one)
    scope(batch) : tensor<1x8xf32> -> !moe.routing<1 x 8, slots = 4, scope = batch>
  %kept_ids, %ones = moe.routing_parts %kept : !moe.routing<1 x 8, slots = 4, scope = batch> -> tensor<1x4xi32>, tensor<1x4xf32>
  %bias = linalg.generic {indexing_maps = [#all], iterator_types = ["parallel"]} outs(%votes_empty : tensor<8xf32>) {
  ^bb0(%unused: f32):
    %number = linalg.index 0 : index
    %this = arith.index_cast %number : index to i32
    %none = arith.constant 0 : index
    %two = arith.constant 2 : index
    %group = arith.divui %number, %two : index
    %winner = tensor.extract %kept_ids[%none, %group] : tensor<1x4xi32>
    %wins = arith.cmpi eq, %winner, %this : i32
    %nothing = arith.constant 0.0 : f32
    %never = arith.constant 0xFF800000 : f32
    %own = arith.select %wins, %nothing, %never : f32
    linalg.yield %own : f32
  } -> tensor<8xf32>
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.per_group_top_k<k = 1, groups = 4>)
    score(#moe.softmax) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 4>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  return %ids, %weights : tensor<?x4xi32>, tensor<?x4xf32>
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

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 4>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 4>)
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
