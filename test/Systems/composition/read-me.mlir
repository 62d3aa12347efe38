// RUN: %systems %moe_bin %t %s
//
// Read-ME: a small router of its own chooses an expert per token before the model runs (@route); all layers use that id
// (@read_me takes it). Experts are subsets of one dense block's neurons, with weight one, beside a subset that all use.
// Subsets are recipes: no neuron is written down twice in the checkpoint. @dense is the block as a whole.
//
// Reading: the same id at every layer, as the paper's text on prefetching experts for all layers implies; two layers here.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @router(#moe.source<"router", tensor<3x24xf32>>) : tensor<3x24xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.stack<[
  #moe.slice<#moe.source<"up", tensor<40x24xf32>>, offset = 0, size = 16>,
  #moe.slice<#moe.source<"up", tensor<40x24xf32>>, offset = 8, size = 16>,
  #moe.concat<[#moe.slice<#moe.source<"up", tensor<40x24xf32>>, offset = 16, size = 8>, #moe.slice<#moe.source<"up", tensor<40x24xf32>>, offset = 0, size = 8>]>]>]>) : !moe.bank<tensor<3x16x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.stack<[
  #moe.transpose<#moe.slice<#moe.transpose<#moe.source<"down", tensor<24x40xf32>>, [1, 0]>, offset = 0, size = 16>, [1, 0]>,
  #moe.transpose<#moe.slice<#moe.transpose<#moe.source<"down", tensor<24x40xf32>>, [1, 0]>, offset = 8, size = 16>, [1, 0]>,
  #moe.transpose<#moe.concat<[#moe.slice<#moe.transpose<#moe.source<"down", tensor<24x40xf32>>, [1, 0]>, offset = 16, size = 8>, #moe.slice<#moe.transpose<#moe.source<"down", tensor<24x40xf32>>, [1, 0]>, offset = 0, size = 8>]>, [1, 0]>]>]>) : !moe.bank<tensor<3x24x16xf32>>
ml_program.global private @residual_up(#moe.slice<#moe.source<"up", tensor<40x24xf32>>, offset = 32, size = 8>) : tensor<8x24xf32>
ml_program.global private @residual_down(#moe.transpose<#moe.slice<#moe.transpose<#moe.source<"down", tensor<24x40xf32>>, [1, 0]>, offset = 32, size = 8>, [1, 0]>) : tensor<24x8xf32>
ml_program.global private @dense_up(#moe.source<"up", tensor<40x24xf32>>) : tensor<40x24xf32>
ml_program.global private @dense_down(#moe.source<"down", tensor<24x40xf32>>) : tensor<24x40xf32>

func.func private @layer(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<3x16x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<3x24x16xf32>>
  %residual_up = ml_program.global_load_const @residual_up : tensor<8x24xf32>
  %residual_down = ml_program.global_load_const @residual_down : tensor<24x8xf32>
  %routed = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 1>)
         banks(%up, %down : !moe.bank<tensor<3x16x24xf32>>, !moe.bank<tensor<3x24x16xf32>>)
         combine(#moe.sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %u: tensor<16x24xf32>, %d: tensor<24x16xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x16xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x16xf32>) -> tensor<?x16xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<16x24xf32>) outs(%raised_zero : tensor<?x16xf32>) -> tensor<?x16xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x16xf32>
    %y_empty = tensor.empty(%count) : tensor<?x24xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x16xf32>, tensor<24x16xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %y : tensor<?x24xf32>
  }
  %wide_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %wide_zero = linalg.fill ins(%zero : f32) outs(%wide_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %wide = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %residual_up : tensor<?x24xf32>, tensor<8x24xf32>) outs(%wide_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %h = arith.maximumf %wide, %wide_zero : tensor<?x8xf32>
  %beside_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %beside_zero = linalg.fill ins(%zero : f32) outs(%beside_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %beside = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%h, %residual_down : tensor<?x8xf32>, tensor<24x8xf32>) outs(%beside_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %sum = arith.addf %routed, %beside : tensor<?x24xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%x, %sum : tensor<?x24xf32>, tensor<?x24xf32>) outs(%y_empty : tensor<?x24xf32>) {
  ^bb0(%a: f32, %b: f32, %unused: f32):
    %c = arith.constant 0.0625 : f32
    %part = arith.mulf %b, %c : f32
    %more = arith.addf %a, %part : f32
    linalg.yield %more : f32
  } -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @route(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x1xi32> {moe.name = "ids"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<3x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x3xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<3x24xf32>) outs(%logits_zero : tensor<?x3xf32>) -> tensor<?x3xf32>
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x3xf32> -> !moe.routing<? x 3, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 3, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids : tensor<?x1xi32>
}

func.func @read_me(%x: tensor<?x24xf32> {moe.name = "x"}, %ids: tensor<?x1xi32> {moe.name = "ids"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %weights_empty = tensor.empty(%tokens) : tensor<?x1xf32>
  %weights = linalg.fill ins(%zero : f32) outs(%weights_empty : tensor<?x1xf32>) -> tensor<?x1xf32>
  // Shown:
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 3, slots = 1>
  %x1 = call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32>
  %x2 = call @layer(%x1, %routing) : (tensor<?x24xf32>, !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32>
  return %x2 : tensor<?x24xf32>
}

func.func @inline(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<3x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x3xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<3x24xf32>) outs(%logits_zero : tensor<?x3xf32>) -> tensor<?x3xf32>
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x3xf32> -> !moe.routing<? x 3, slots = 1>
  %x1 = call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32>
  %x2 = call @layer(%x1, %routing) : (tensor<?x24xf32>, !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32>
  return %x2 : tensor<?x24xf32>
}

func.func @dense(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %dense_up = ml_program.global_load_const @dense_up : tensor<40x24xf32>
  %dense_down = ml_program.global_load_const @dense_down : tensor<24x40xf32>
  %wide_empty = tensor.empty(%tokens) : tensor<?x40xf32>
  %wide_zero = linalg.fill ins(%zero : f32) outs(%wide_empty : tensor<?x40xf32>) -> tensor<?x40xf32>
  %wide = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %dense_up : tensor<?x24xf32>, tensor<40x24xf32>) outs(%wide_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
  %h = arith.maximumf %wide, %wide_zero : tensor<?x40xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%h, %dense_down : tensor<?x40xf32>, tensor<24x40xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @one_layer(%x: tensor<?x24xf32> {moe.name = "x"}, %ids: tensor<?x1xi32> {moe.name = "ids"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %weights_empty = tensor.empty(%tokens) : tensor<?x1xf32>
  %weights = linalg.fill ins(%zero : f32) outs(%weights_empty : tensor<?x1xf32>) -> tensor<?x1xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 3, slots = 1>
  %y = call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 3, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
