// RUN: %systems %moe_bin %t %s
//
// SMILE: a router for the node, a router inside the node for the device; the weight is the product of the two
// probabilities. Which entries the two levels choose from is [check] in the catalogue; taken here: the best of each, since
// each level is a Switch router.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#outer = affine_map<(t, i, j) -> (t, i)>
#pair = affine_map<(t, i, j) -> (t, i, j)>

ml_program.global private @router_nodes(#moe.source<"router_nodes", tensor<3x24xf32>>) : tensor<3x24xf32>
ml_program.global private @router_devices(#moe.source<"router_devices", tensor<12x24xf32>>) : tensor<12x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<12x24x24xf32>>]>) : !moe.bank<tensor<12x24x24xf32>>

func.func @smile_bilevel(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router_nodes = ml_program.global_load_const @router_nodes : tensor<3x24xf32>
  %router_devices = ml_program.global_load_const @router_devices : tensor<12x24xf32>
  %node_logits_empty = tensor.empty(%tokens) : tensor<?x3xf32>
  %node_logits_zero = linalg.fill ins(%zero : f32) outs(%node_logits_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
  %node_logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router_nodes : tensor<?x24xf32>, tensor<3x24xf32>) outs(%node_logits_zero : tensor<?x3xf32>) -> tensor<?x3xf32>
  %device_logits_empty = tensor.empty(%tokens) : tensor<?x12xf32>
  %device_logits_zero = linalg.fill ins(%zero : f32) outs(%device_logits_empty : tensor<?x12xf32>) -> tensor<?x12xf32>
  %device_logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router_devices : tensor<?x24xf32>, tensor<12x24xf32>) outs(%device_logits_zero : tensor<?x12xf32>) -> tensor<?x12xf32>

  // One softmax over nodes, one over the devices of each node.
  %p_all = moe.select %node_logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x3xf32> -> !moe.routing<? x 3, slots = 3>
  %p_ids, %p = moe.routing_parts %p_all : !moe.routing<? x 3, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  %by_node = tensor.expand_shape %device_logits [[0], [1, 2]] output_shape [%tokens, 3, 4]
    : tensor<?x12xf32> into tensor<?x3x4xf32>
  %rows = tensor.collapse_shape %by_node [[0, 1], [2]] : tensor<?x3x4xf32> into tensor<?x4xf32>
  %q_all = moe.select %rows policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %q_ids, %q = moe.routing_parts %q_all : !moe.routing<? x 4, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  %q_by_node = tensor.expand_shape %q [[0, 1], [2]] output_shape [%tokens, 3, 4]
    : tensor<?x4xf32> into tensor<?x3x4xf32>
  %product_empty = tensor.empty(%tokens) : tensor<?x3x4xf32>
  %product = linalg.generic {indexing_maps = [#outer, #pair, #pair], iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%p, %q_by_node : tensor<?x3xf32>, tensor<?x3x4xf32>) outs(%product_empty : tensor<?x3x4xf32>) {
  ^bb0(%outer: f32, %inner: f32, %unused: f32):
    %both = arith.mulf %outer, %inner : f32
    linalg.yield %both : f32
  } -> tensor<?x3x4xf32>
  %table = tensor.collapse_shape %product [[0], [1, 2]] : tensor<?x3x4xf32> into tensor<?x12xf32>

  // The best node, then the best device in it, weighed by both.
  %routing = moe.select %device_logits weigh(%table : tensor<?x12xf32>)
    policy(#moe.group_limited_top_k<k = 1, groups = 3, keep = 1, judge = given>) with(group_scores = %p : tensor<?x3xf32>)
    score(#moe.identity) normalize(#moe.keep) : tensor<?x12xf32> -> !moe.routing<? x 12, slots = 1>
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<12x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 12, slots = 1>)
         banks(%expert : !moe.bank<tensor<12x24x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
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

// The choice alone, both levels' logits given.
func.func @choice(%node_logits: tensor<?x3xf32> {moe.name = "node_logits"}, %device_logits: tensor<?x12xf32> {moe.name = "device_logits"})
    -> (tensor<?x1xi32> {moe.name = "ids"}, tensor<?x1xf32> {moe.name = "weights"}) {
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %node_logits, %c0 : tensor<?x3xf32>

  // One softmax over nodes, one over the devices of each node.
  %p_all = moe.select %node_logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x3xf32> -> !moe.routing<? x 3, slots = 3>
  %p_ids, %p = moe.routing_parts %p_all : !moe.routing<? x 3, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  %by_node = tensor.expand_shape %device_logits [[0], [1, 2]] output_shape [%tokens, 3, 4]
    : tensor<?x12xf32> into tensor<?x3x4xf32>
  %rows = tensor.collapse_shape %by_node [[0, 1], [2]] : tensor<?x3x4xf32> into tensor<?x4xf32>
  %q_all = moe.select %rows policy(#moe.all) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %q_ids, %q = moe.routing_parts %q_all : !moe.routing<? x 4, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  %q_by_node = tensor.expand_shape %q [[0, 1], [2]] output_shape [%tokens, 3, 4]
    : tensor<?x4xf32> into tensor<?x3x4xf32>
  %product_empty = tensor.empty(%tokens) : tensor<?x3x4xf32>
  %product = linalg.generic {indexing_maps = [#outer, #pair, #pair], iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%p, %q_by_node : tensor<?x3xf32>, tensor<?x3x4xf32>) outs(%product_empty : tensor<?x3x4xf32>) {
  ^bb0(%outer: f32, %inner: f32, %unused: f32):
    %both = arith.mulf %outer, %inner : f32
    linalg.yield %both : f32
  } -> tensor<?x3x4xf32>
  %table = tensor.collapse_shape %product [[0], [1, 2]] : tensor<?x3x4xf32> into tensor<?x12xf32>

  // The best node, then the best device in it, weighed by both.
  %routing = moe.select %device_logits weigh(%table : tensor<?x12xf32>)
    policy(#moe.group_limited_top_k<k = 1, groups = 3, keep = 1, judge = given>) with(group_scores = %p : tensor<?x3xf32>)
    score(#moe.identity) normalize(#moe.keep) : tensor<?x12xf32> -> !moe.routing<? x 12, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 12, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32>
}

// What two levels are not: the best product.
func.func @flat(%products: tensor<?x12xf32> {moe.name = "products"})
    -> (tensor<?x1xi32> {moe.name = "ids"}, tensor<?x1xf32> {moe.name = "weights"}) {
  %routing = moe.select %products policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x12xf32> -> !moe.routing<? x 12, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 12, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32>
}

// One node: a plain choice of devices.
func.func @one_node(%node_logits: tensor<?x1xf32> {moe.name = "node_logits"}, %device_logits: tensor<?x4xf32> {moe.name = "device_logits"})
    -> (tensor<?x1xi32> {moe.name = "ids"}, tensor<?x1xf32> {moe.name = "weights"}) {
  %routing = moe.select %device_logits policy(#moe.group_limited_top_k<k = 1, groups = 1, keep = 1, judge = given>)
    with(group_scores = %node_logits : tensor<?x1xf32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32>
}
