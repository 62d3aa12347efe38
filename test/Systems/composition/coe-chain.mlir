// RUN: %systems %moe_bin %t %s
//
// CoE: a layer whose experts run twice on what they made: each iteration has a router of its own, the experts are the same.
// Normalised once before the chain; residual inside (each iteration adds to its input) and outside (the result to the
// layer's input). Top-2 of the softmax, divided by their sum. @outer_only leaves the inner
// residual out, @once is one iteration, @scaled is one whose weights are not divided by their sum but scaled by 2.5.
//
// The norm's epsilon, 0.75, makes the norm of rows with six ones exactly 1, so that small integers stay integers.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

ml_program.global private @router0(#moe.source<"router0", tensor<6x24xf32>>) : tensor<6x24xf32>
ml_program.global private @router1(#moe.source<"router1", tensor<6x24xf32>>) : tensor<6x24xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<6x20x24xf32>>]>) : !moe.bank<tensor<6x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<6x24x20xf32>>]>) : !moe.bank<tensor<6x24x20xf32>>

func.func private @iteration(%x: tensor<?x24xf32>, %router: tensor<6x24xf32>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<6x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<6x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<6x24xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 2>)
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

func.func @coe_chain(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router0 = ml_program.global_load_const @router0 : tensor<6x24xf32>
  %router1 = ml_program.global_load_const @router1 : tensor<6x24xf32>
  %normal_vector = tensor.empty(%tokens) : tensor<?xf32>
  %normal_init = linalg.fill ins(%zero : f32) outs(%normal_vector : tensor<?xf32>) -> tensor<?xf32>
  %normal_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%normal_init : tensor<?xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %square = arith.mulf %a, %a : f32
    %more = arith.addf %square, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %normal_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %normal = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%x, %normal_sum : tensor<?x24xf32>, tensor<?xf32>) outs(%normal_empty : tensor<?x24xf32>) {
  ^bb0(%a: f32, %sum: f32, %unused: f32):
    %width = arith.constant 24.0 : f32
    %epsilon = arith.constant 0.75 : f32
    %mean = arith.divf %sum, %width : f32
    %shifted = arith.addf %mean, %epsilon : f32
    %scale = math.rsqrt %shifted : f32
    %scaled = arith.mulf %a, %scale : f32
    linalg.yield %scaled : f32
  } -> tensor<?x24xf32>
  // Shown:
  %change0 = call @iteration(%normal, %router0) : (tensor<?x24xf32>, tensor<6x24xf32>) -> tensor<?x24xf32>
  %state1 = arith.addf %normal, %change0 : tensor<?x24xf32>
  %change1 = call @iteration(%state1, %router1) : (tensor<?x24xf32>, tensor<6x24xf32>) -> tensor<?x24xf32>
  %state2 = arith.addf %state1, %change1 : tensor<?x24xf32>
  %y = arith.addf %state2, %x : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @outer_only(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router0 = ml_program.global_load_const @router0 : tensor<6x24xf32>
  %router1 = ml_program.global_load_const @router1 : tensor<6x24xf32>
  %normal_vector = tensor.empty(%tokens) : tensor<?xf32>
  %normal_init = linalg.fill ins(%zero : f32) outs(%normal_vector : tensor<?xf32>) -> tensor<?xf32>
  %normal_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%normal_init : tensor<?xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %square = arith.mulf %a, %a : f32
    %more = arith.addf %square, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %normal_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %normal = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%x, %normal_sum : tensor<?x24xf32>, tensor<?xf32>) outs(%normal_empty : tensor<?x24xf32>) {
  ^bb0(%a: f32, %sum: f32, %unused: f32):
    %width = arith.constant 24.0 : f32
    %epsilon = arith.constant 0.75 : f32
    %mean = arith.divf %sum, %width : f32
    %shifted = arith.addf %mean, %epsilon : f32
    %scale = math.rsqrt %shifted : f32
    %scaled = arith.mulf %a, %scale : f32
    linalg.yield %scaled : f32
  } -> tensor<?x24xf32>
  %state1 = call @iteration(%normal, %router0) : (tensor<?x24xf32>, tensor<6x24xf32>) -> tensor<?x24xf32>
  %state2 = call @iteration(%state1, %router1) : (tensor<?x24xf32>, tensor<6x24xf32>) -> tensor<?x24xf32>
  %y = arith.addf %state2, %x : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @once(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router0 = ml_program.global_load_const @router0 : tensor<6x24xf32>
  %normal_vector = tensor.empty(%tokens) : tensor<?xf32>
  %normal_init = linalg.fill ins(%zero : f32) outs(%normal_vector : tensor<?xf32>) -> tensor<?xf32>
  %normal_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%normal_init : tensor<?xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %square = arith.mulf %a, %a : f32
    %more = arith.addf %square, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %normal_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %normal = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%x, %normal_sum : tensor<?x24xf32>, tensor<?xf32>) outs(%normal_empty : tensor<?x24xf32>) {
  ^bb0(%a: f32, %sum: f32, %unused: f32):
    %width = arith.constant 24.0 : f32
    %epsilon = arith.constant 0.75 : f32
    %mean = arith.divf %sum, %width : f32
    %shifted = arith.addf %mean, %epsilon : f32
    %scale = math.rsqrt %shifted : f32
    %scaled = arith.mulf %a, %scale : f32
    linalg.yield %scaled : f32
  } -> tensor<?x24xf32>
  %change0 = call @iteration(%normal, %router0) : (tensor<?x24xf32>, tensor<6x24xf32>) -> tensor<?x24xf32>
  %state1 = arith.addf %normal, %change0 : tensor<?x24xf32>
  %y = arith.addf %state1, %x : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @scaled(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router0 = ml_program.global_load_const @router0 : tensor<6x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<6x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<6x24x20xf32>>
  %normal_vector = tensor.empty(%tokens) : tensor<?xf32>
  %normal_init = linalg.fill ins(%zero : f32) outs(%normal_vector : tensor<?xf32>) -> tensor<?xf32>
  %normal_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%normal_init : tensor<?xf32>) {
  ^bb0(%a: f32, %sum: f32):
    %square = arith.mulf %a, %a : f32
    %more = arith.addf %square, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %normal_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %normal = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%x, %normal_sum : tensor<?x24xf32>, tensor<?xf32>) outs(%normal_empty : tensor<?x24xf32>) {
  ^bb0(%a: f32, %sum: f32, %unused: f32):
    %width = arith.constant 24.0 : f32
    %epsilon = arith.constant 0.75 : f32
    %mean = arith.divf %sum, %width : f32
    %shifted = arith.addf %mean, %epsilon : f32
    %scale = math.rsqrt %shifted : f32
    %scaled = arith.mulf %a, %scale : f32
    linalg.yield %scaled : f32
  } -> tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%normal, %router0 : tensor<?x24xf32>, tensor<6x24xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep) scale(2.5)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 2>
  %change = moe.experts rows(%normal : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 2>)
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
  %state1 = arith.addf %normal, %change : tensor<?x24xf32>
  %y = arith.addf %state1, %x : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
