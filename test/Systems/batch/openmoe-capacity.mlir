// RUN: %systems %moe_bin %t %s
//
// OpenMoE: the best two experts by probability, weights raw; an expert takes C pairs, all first choices before any second
// one, in order of token; what found no room is dropped. C = floor(2 * factor * T / E) made even and no less than a minimum
// (factor 1.25 and minimum 4 here, as published); an odd one is made even by adding one, as in the code.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#all = affine_map<(i) -> (i)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @openmoe_capacity(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  // C = floor(2 * 1.25 * T / 8) = floor(5 T / 16), made even by one more where it is odd, at least 4.
  %five = arith.constant 5 : index
  %sixteen = arith.constant 16 : index
  %one = arith.constant 1 : index
  %least = arith.constant 4 : index
  %pairs = arith.muli %tokens, %five : index
  %share = arith.divui %pairs, %sixteen : index
  %odd = arith.andi %share, %one : index
  %even = arith.addi %share, %odd : index
  %room = arith.maxui %even, %least : index
  %capacity = tensor.from_elements %room : tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %routing = moe.limit %all capacity(%capacity : tensor<1xindex>) priority(slot) : !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Without a capacity.
func.func @dropless(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone, logits and room given: weights made to sum to one never, before the drop, after it.
func.func @never(%logits: tensor<?x4xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %capacity = tensor.empty() : tensor<1xindex>
  %c = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%room : tensor<1xi32>) outs(%capacity : tensor<1xindex>) {
  ^bb0(%n: i32, %unused: index):
    %wide = arith.index_cast %n : i32 to index
    linalg.yield %wide : index
  } -> tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %routing = moe.limit %all capacity(%c : tensor<1xindex>) priority(slot) : !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

func.func @before(%logits: tensor<?x4xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %capacity = tensor.empty() : tensor<1xindex>
  %c = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%room : tensor<1xi32>) outs(%capacity : tensor<1xindex>) {
  ^bb0(%n: i32, %unused: index):
    %wide = arith.index_cast %n : i32 to index
    linalg.yield %wide : index
  } -> tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %routing = moe.limit %all capacity(%c : tensor<1xindex>) priority(slot) : !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

func.func @after(%logits: tensor<?x4xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %capacity = tensor.empty() : tensor<1xindex>
  %c = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%room : tensor<1xi32>) outs(%capacity : tensor<1xindex>) {
  ^bb0(%n: i32, %unused: index):
    %wide = arith.index_cast %n : i32 to index
    linalg.yield %wide : index
  } -> tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %left = moe.limit %all capacity(%c : tensor<1xindex>) priority(slot) : !moe.routing<? x 4, slots = 2>
  %routing = moe.reweigh %left normalize(#moe.sum_to_one) : !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

// Who comes first: tokens in order, whatever the slot; the largest weight.
func.func @by_token(%logits: tensor<?x4xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %capacity = tensor.empty() : tensor<1xindex>
  %c = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%room : tensor<1xi32>) outs(%capacity : tensor<1xindex>) {
  ^bb0(%n: i32, %unused: index):
    %wide = arith.index_cast %n : i32 to index
    linalg.yield %wide : index
  } -> tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %routing = moe.limit %all capacity(%c : tensor<1xindex>) priority(token) : !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

func.func @by_weight(%logits: tensor<?x4xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %capacity = tensor.empty() : tensor<1xindex>
  %c = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%room : tensor<1xi32>) outs(%capacity : tensor<1xindex>) {
  ^bb0(%n: i32, %unused: index):
    %wide = arith.index_cast %n : i32 to index
    linalg.yield %wide : index
  } -> tensor<1xindex>
  %all = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %routing = moe.limit %all capacity(%c : tensor<1xindex>) priority(weight) : !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
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
