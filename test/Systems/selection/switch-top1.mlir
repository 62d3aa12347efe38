// RUN: %systems %moe_bin %t %s
//
// Switch Transformer: the best expert, weighed by its probability; of each sequence an expert takes C = ceil(T / E * 1.25)
// tokens, in order, and what a token lost counts as 0.
//
// The paper gives C = tokens per batch / experts * factor and no rounding; the widely used port counts per sequence (its
// dispatch group) with a fixed C. Taken here: per sequence, rounded up, so that an even load never drops.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#all = affine_map<(s) -> (s)>
#id = affine_map<(t, d) -> (t, d)>
#token = affine_map<(t, d) -> (t)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @switch_top1(%x: tensor<?x24xf32> {moe.name = "x"}, %sequence: tensor<?xi32> {moe.name = "sequence"},
                           %length: tensor<?xi32> {moe.name = "length"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %lengths = tensor.dim %length, %c0 : tensor<?xi32>
  %capacity_empty = tensor.empty(%lengths) : tensor<?xindex>
  %capacity = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%length : tensor<?xi32>) outs(%capacity_empty : tensor<?xindex>) {
  ^bb0(%n: i32, %unused: index):
    // ceil(n / 8 * 1.25) = ceil(5 n / 32) = floor((5 n + 31) / 32)
    %five = arith.constant 5 : i32
    %experts = arith.constant 32 : i32
    %room = arith.muli %n, %five : i32
    %less_one = arith.constant 31 : i32
    %more = arith.addi %room, %less_one : i32
    %rounded = arith.divui %more, %experts : i32
    %wide = arith.index_cast %rounded : i32 to index
    linalg.yield %wide : index
  } -> tensor<?xindex>
  %all = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %routing = moe.limit %all capacity(%capacity : tensor<?xindex>) groups(%sequence : tensor<?xi32>) priority(token) : !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// In a model of 16 bits the router stays in f32: rows come widened, the probability is rounded before it weighs.
func.func @half(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %half = arith.truncf %x : tensor<?x24xf32> to tensor<?x24xbf16>
  %wide = arith.extf %half : tensor<?x24xbf16> to tensor<?x24xf32>
  %logits = func.call @logits(%wide) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %chosen = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %ids, %p = moe.routing_parts %chosen : !moe.routing<? x 8, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  %p_half = arith.truncf %p : tensor<?x1xf32> to tensor<?x1xbf16>
  %weights = arith.extf %p_half : tensor<?x1xbf16> to tensor<?x1xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%wide, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Without a capacity.
func.func @dropless(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Weights that sum to one: 1, whatever the probability.
func.func @renormalised(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The older port: what a token lost gives its input, weighed by the probability.
func.func @older_port(%x: tensor<?x24xf32> {moe.name = "x"}, %sequence: tensor<?xi32> {moe.name = "sequence"},
                           %length: tensor<?xi32> {moe.name = "length"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %lengths = tensor.dim %length, %c0 : tensor<?xi32>
  %capacity_empty = tensor.empty(%lengths) : tensor<?xindex>
  %capacity = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%length : tensor<?xi32>) outs(%capacity_empty : tensor<?xindex>) {
  ^bb0(%n: i32, %unused: index):
    // ceil(n / 8 * 1.25) = ceil(5 n / 32) = floor((5 n + 31) / 32)
    %five = arith.constant 5 : i32
    %experts = arith.constant 32 : i32
    %room = arith.muli %n, %five : i32
    %less_one = arith.constant 31 : i32
    %more = arith.addi %room, %less_one : i32
    %rounded = arith.divui %more, %experts : i32
    %wide = arith.index_cast %rounded : i32 to index
    linalg.yield %wide : index
  } -> tensor<?xindex>
  %all = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %routing = moe.limit %all capacity(%capacity : tensor<?xindex>) groups(%sequence : tensor<?xi32>) priority(token) : !moe.routing<? x 8, slots = 1>
  %all_ids, %before = moe.routing_parts %all : !moe.routing<? x 8, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  %ids, %after = moe.routing_parts %routing : !moe.routing<? x 8, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  %p = tensor.collapse_shape %before [[0, 1]] : tensor<?x1xf32> into tensor<?xf32>
  %q = tensor.collapse_shape %after [[0, 1]] : tensor<?x1xf32> into tensor<?xf32>
  %kept = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #token, #token, #id], iterator_types = ["parallel", "parallel"]}
    ins(%kept, %x, %p, %q : tensor<?x24xf32>, tensor<?x24xf32>, tensor<?xf32>, tensor<?xf32>)
    outs(%y_empty : tensor<?x24xf32>) {
  ^bb0(%expert: f32, %own: f32, %weight: f32, %left: f32, %unused: f32):
    %lost = arith.subf %weight, %left : f32
    %result = math.fma %lost, %own, %expert : f32
    linalg.yield %result : f32
  } -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
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

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32> {
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
