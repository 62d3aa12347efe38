// RUN: %systems %moe_bin %t %s
//
// C3PO: the routing vector of some tokens is replaced at run time by a mean of stored ones, weighed by a kernel; it is
// normalised, and top-k follows. Routing vectors come out as well, to be stored. Tokens that are not marked keep their own.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
#column = affine_map<(i, j) -> (j)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<8x20x24xf32>>]>) : !moe.bank<tensor<8x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<8x24x20xf32>>]>) : !moe.bank<tensor<8x24x20xf32>>

func.func @c3po_override(%x: tensor<?x24xf32> {moe.name = "x"}, %marked: tensor<?xi32> {moe.name = "marked"},
                       %stored: tensor<3x8xf32> {moe.name = "stored"}, %kernel: tensor<3xf32> {moe.name = "kernel"}) -> (tensor<?x24xf32> {moe.name = "y"},
    tensor<?x8xf32> {moe.name = "vectors"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<8x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<8x24x20xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %scores_lowest = arith.constant 0xFF800000 : f32
  %scores_vector = tensor.empty(%tokens) : tensor<?xf32>
  %scores_max_init = linalg.fill ins(%scores_lowest : f32) outs(%scores_vector : tensor<?xf32>) -> tensor<?xf32>
  %scores_max = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%logits : tensor<?x8xf32>) outs(%scores_max_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.maximumf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %scores_matrix = tensor.empty(%tokens) : tensor<?x8xf32>
  %scores_exp = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %scores_max : tensor<?x8xf32>, tensor<?xf32>) outs(%scores_matrix : tensor<?x8xf32>) {
  ^bb0(%value: f32, %highest: f32, %unused: f32):
    %below = arith.subf %value, %highest : f32
    %exp = math.exp %below : f32
    linalg.yield %exp : f32
  } -> tensor<?x8xf32>
  %scores_sum_init = linalg.fill ins(%zero : f32) outs(%scores_vector : tensor<?xf32>) -> tensor<?xf32>
  %scores_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%scores_exp : tensor<?x8xf32>) outs(%scores_sum_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %scores = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%scores_exp, %scores_sum : tensor<?x8xf32>, tensor<?xf32>) outs(%scores_matrix : tensor<?x8xf32>) {
  ^bb0(%value: f32, %total: f32, %unused: f32):
    %share = arith.divf %value, %total : f32
    linalg.yield %share : f32
  } -> tensor<?x8xf32>
  // The mean of stored vectors; its sum is divided out, so that the kernel need not be normalised.
  %mix_empty = tensor.empty() : tensor<8xf32>
  %mix_zero = linalg.fill ins(%zero : f32) outs(%mix_empty : tensor<8xf32>) -> tensor<8xf32>
  %mix = linalg.generic {indexing_maps = [#id, #row, #column], iterator_types = ["reduction", "parallel"]}
    ins(%stored, %kernel : tensor<3x8xf32>, tensor<3xf32>) outs(%mix_zero : tensor<8xf32>) {
  ^bb0(%entry: f32, %share: f32, %before: f32):
    %part = arith.mulf %entry, %share : f32
    %after = arith.addf %before, %part : f32
    linalg.yield %after : f32
  } -> tensor<8xf32>
  %total_empty = tensor.empty() : tensor<f32>
  %total_zero = linalg.fill ins(%zero : f32) outs(%total_empty : tensor<f32>) -> tensor<f32>
  %total = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
    ins(%mix : tensor<8xf32>) outs(%total_zero : tensor<f32>) {
  ^bb0(%entry: f32, %before: f32):
    %after = arith.addf %before, %entry : f32
    linalg.yield %after : f32
  } -> tensor<f32>
  // Shown:
  %vectors_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %vectors = linalg.generic {
    indexing_maps = [#id, #row, #column, affine_map<(i, j) -> ()>, #id], iterator_types = ["parallel", "parallel"]
  } ins(%scores, %marked, %mix, %total : tensor<?x8xf32>, tensor<?xi32>, tensor<8xf32>, tensor<f32>)
    outs(%vectors_empty : tensor<?x8xf32>) {
  ^bb0(%score: f32, %mark: i32, %entry: f32, %sum: f32, %unused: f32):
    %none = arith.constant 0 : i32
    %is_marked = arith.cmpi ne, %mark, %none : i32
    %share = arith.divf %entry, %sum : f32
    %kept = arith.select %is_marked, %share, %score : f32
    linalg.yield %kept : f32
  } -> tensor<?x8xf32>
  %routing = moe.select %vectors policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%up, %down : !moe.bank<tensor<8x20x24xf32>>, !moe.bank<tensor<8x24x20xf32>>)
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
  return %y, %vectors : tensor<?x24xf32>, tensor<?x8xf32>
}
