// RUN: %systems %moe_bin %t %s
//
// HoME: five experts are evaluated once, and each of two tasks joins them with a gate of its own. Side by side the outputs
// are one tensor, so as many gates as there are tasks read it. Experts see the input through a gate of low rank; their
// output is normalised and passes swish.
//
// Reading (confirmed where the paper's text is quoted: feature gate 2 sigmoid(x B A), swish of the batch norm): the 0/1 mask
// of task by expert is -inf before the task's softmax; the self-gate adds sigmoid(s . x) times the task's own expert. Batch
// norm runs on stored statistics, epsilon 2^-10. One level of the hierarchy: the second is the same layer again.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
#column = affine_map<(i, j) -> (j)>

ml_program.global private @low(#moe.bank_recipe<[#moe.source<"low", tensor<5x4x24xf32>>]>) : !moe.bank<tensor<5x4x24xf32>>
ml_program.global private @high(#moe.bank_recipe<[#moe.source<"high", tensor<5x24x4xf32>>]>) : !moe.bank<tensor<5x24x4xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<5x12x24xf32>>]>) : !moe.bank<tensor<5x12x24xf32>>
ml_program.global private @bn_mean(#moe.bank_recipe<[#moe.source<"bn_mean", tensor<5x12xf32>>]>) : !moe.bank<tensor<5x12xf32>>
ml_program.global private @bn_variance(#moe.bank_recipe<[#moe.source<"bn_variance", tensor<5x12xf32>>]>) : !moe.bank<tensor<5x12xf32>>
ml_program.global private @bn_scale(#moe.bank_recipe<[#moe.source<"bn_scale", tensor<5x12xf32>>]>) : !moe.bank<tensor<5x12xf32>>
ml_program.global private @bn_offset(#moe.bank_recipe<[#moe.source<"bn_offset", tensor<5x12xf32>>]>) : !moe.bank<tensor<5x12xf32>>
ml_program.global private @task_router(#moe.source<"task_router", tensor<10x24xf32>>) : tensor<10x24xf32>
ml_program.global private @self_router(#moe.source<"self_router", tensor<2x24xf32>>) : tensor<2x24xf32>
ml_program.global private @mask(#moe.source<"mask", tensor<10xf32>>) : tensor<10xf32>

func.func @home_multigate(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x12xf32> {moe.name = "first"}, tensor<?x12xf32> {moe.name = "second"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %low = ml_program.global_load_const @low : !moe.bank<tensor<5x4x24xf32>>
  %high = ml_program.global_load_const @high : !moe.bank<tensor<5x24x4xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<5x12x24xf32>>
  %bn_mean = ml_program.global_load_const @bn_mean : !moe.bank<tensor<5x12xf32>>
  %bn_variance = ml_program.global_load_const @bn_variance : !moe.bank<tensor<5x12xf32>>
  %bn_scale = ml_program.global_load_const @bn_scale : !moe.bank<tensor<5x12xf32>>
  %bn_offset = ml_program.global_load_const @bn_offset : !moe.bank<tensor<5x12xf32>>
  %task_router = ml_program.global_load_const @task_router : tensor<10x24xf32>
  %self_router = ml_program.global_load_const @self_router : tensor<2x24xf32>
  %mask = ml_program.global_load_const @mask : tensor<10xf32>
  %ids_empty = tensor.empty(%tokens) : tensor<?x5xi32>
  %ids = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%ids_empty : tensor<?x5xi32>) {
  ^bb0(%unused: i32):
    %number = linalg.index 1 : index
    %expert = arith.index_cast %number : index to i32
    linalg.yield %expert : i32
  } -> tensor<?x5xi32>
  %no_weights = tensor.empty(%tokens) : tensor<?x5xf32>
  %weights = linalg.fill ins(%zero : f32) outs(%no_weights : tensor<?x5xf32>) -> tensor<?x5xf32>
  // Shown:
  %all = moe.make_routing %ids, %weights : tensor<?x5xi32>, tensor<?x5xf32> -> !moe.routing<? x 5, slots = 5>
  %outputs = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%all : !moe.routing<? x 5, slots = 5>)
         banks(%low, %high, %up, %bn_mean, %bn_variance, %bn_scale, %bn_offset :
           !moe.bank<tensor<5x4x24xf32>>, !moe.bank<tensor<5x24x4xf32>>, !moe.bank<tensor<5x12x24xf32>>,
           !moe.bank<tensor<5x12xf32>>, !moe.bank<tensor<5x12xf32>>, !moe.bank<tensor<5x12xf32>>, !moe.bank<tensor<5x12xf32>>)
         combine(#moe.concat_slots) -> tensor<?x60xf32> {
  ^bb0(%own: tensor<?x24xf32>, %a: tensor<4x24xf32>, %b: tensor<24x4xf32>, %w: tensor<12x24xf32>,
       %mean: tensor<12xf32>, %variance: tensor<12xf32>, %scale: tensor<12xf32>, %offset: tensor<12xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %narrow_empty = tensor.empty(%count) : tensor<?x4xf32>
    %narrow_zero = linalg.fill ins(%none : f32) outs(%narrow_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %narrow = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %a : tensor<?x24xf32>, tensor<4x24xf32>) outs(%narrow_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %seen_empty = tensor.empty(%count) : tensor<?x24xf32>
    %seen_zero = linalg.fill ins(%none : f32) outs(%seen_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %seen = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%narrow, %b : tensor<?x4xf32>, tensor<24x4xf32>) outs(%seen_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %gated = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%own, %seen : tensor<?x24xf32>, tensor<?x24xf32>) outs(%seen_empty : tensor<?x24xf32>) {
    ^bb0(%value: f32, %logit: f32, %unused: f32):
      %one = arith.constant 1.0 : f32
      %two = arith.constant 2.0 : f32
      %negative = arith.negf %logit : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %gate = arith.divf %two, %divisor : f32
      %product = arith.mulf %value, %gate : f32
      linalg.yield %product : f32
    } -> tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x12xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x12xf32>) -> tensor<?x12xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%gated, %w : tensor<?x24xf32>, tensor<12x24xf32>) outs(%raised_zero : tensor<?x12xf32>) -> tensor<?x12xf32>
    %out = linalg.generic {
      indexing_maps = [#id, #column, #column, #column, #column, #id], iterator_types = ["parallel", "parallel"]
    } ins(%raised, %mean, %variance, %scale, %offset :
        tensor<?x12xf32>, tensor<12xf32>, tensor<12xf32>, tensor<12xf32>, tensor<12xf32>) outs(%raised_empty : tensor<?x12xf32>) {
    ^bb0(%value: f32, %m: f32, %v: f32, %s: f32, %o: f32, %unused: f32):
      %epsilon = arith.constant 9.765625e-04 : f32
      %one = arith.constant 1.0 : f32
      %below = arith.subf %value, %m : f32
      %shifted = arith.addf %v, %epsilon : f32
      %inverse = math.rsqrt %shifted : f32
      %unit = arith.mulf %below, %inverse : f32
      %scaled = arith.mulf %unit, %s : f32
      %normal = arith.addf %scaled, %o : f32
      %negative = arith.negf %normal : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %swish = arith.divf %normal, %divisor : f32
      linalg.yield %swish : f32
    } -> tensor<?x12xf32>
    moe.yield %out : tensor<?x12xf32>
  }
  %experts = tensor.expand_shape %outputs [[0], [1, 2]] output_shape [%tokens, 5, 12] : tensor<?x60xf32> into tensor<?x5x12xf32>

  // Two gates: rows are (token, task).
  %products_empty = tensor.empty(%tokens) : tensor<?x10xf32>
  %products_zero = linalg.fill ins(%zero : f32) outs(%products_empty : tensor<?x10xf32>) -> tensor<?x10xf32>
  %products = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %task_router : tensor<?x24xf32>, tensor<10x24xf32>) outs(%products_zero : tensor<?x10xf32>) -> tensor<?x10xf32>
  %masked = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%products, %mask : tensor<?x10xf32>, tensor<10xf32>) outs(%products_empty : tensor<?x10xf32>) {
  ^bb0(%logit: f32, %hidden: f32, %unused: f32):
    %sum = arith.addf %logit, %hidden : f32
    linalg.yield %sum : f32
  } -> tensor<?x10xf32>
  %two_tasks = arith.constant 2 : index
  %pairs = arith.muli %tokens, %two_tasks : index
  %of_tasks = tensor.expand_shape %masked [[0], [1, 2]] output_shape [%tokens, 2, 5] : tensor<?x10xf32> into tensor<?x2x5xf32>
  %task_logits = tensor.collapse_shape %of_tasks [[0, 1], [2]] : tensor<?x2x5xf32> into tensor<?x5xf32>
  %gates_lowest = arith.constant 0xFF800000 : f32
  %gates_vector = tensor.empty(%pairs) : tensor<?xf32>
  %gates_max_init = linalg.fill ins(%gates_lowest : f32) outs(%gates_vector : tensor<?xf32>) -> tensor<?xf32>
  %gates_max = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%task_logits : tensor<?x5xf32>) outs(%gates_max_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.maximumf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %gates_matrix = tensor.empty(%pairs) : tensor<?x5xf32>
  %gates_exp = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%task_logits, %gates_max : tensor<?x5xf32>, tensor<?xf32>) outs(%gates_matrix : tensor<?x5xf32>) {
  ^bb0(%value: f32, %highest: f32, %unused: f32):
    %below = arith.subf %value, %highest : f32
    %exp = math.exp %below : f32
    linalg.yield %exp : f32
  } -> tensor<?x5xf32>
  %gates_sum_init = linalg.fill ins(%zero : f32) outs(%gates_vector : tensor<?xf32>) -> tensor<?xf32>
  %gates_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%gates_exp : tensor<?x5xf32>) outs(%gates_sum_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %gates = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%gates_exp, %gates_sum : tensor<?x5xf32>, tensor<?xf32>) outs(%gates_matrix : tensor<?x5xf32>) {
  ^bb0(%value: f32, %total: f32, %unused: f32):
    %share = arith.divf %value, %total : f32
    linalg.yield %share : f32
  } -> tensor<?x5xf32>
  %gate = tensor.expand_shape %gates [[0, 1], [2]] output_shape [%tokens, 2, 5] : tensor<?x5xf32> into tensor<?x2x5xf32>
  %joined_empty = tensor.empty(%tokens) : tensor<?x2x12xf32>
  %joined_zero = linalg.fill ins(%zero : f32) outs(%joined_empty : tensor<?x2x12xf32>) -> tensor<?x2x12xf32>
  %joined = linalg.generic {
    indexing_maps = [affine_map<(t, g, m, e) -> (t, g, e)>, affine_map<(t, g, m, e) -> (t, e, m)>, affine_map<(t, g, m, e) -> (t, g, m)>],
    iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  } ins(%gate, %experts : tensor<?x2x5xf32>, tensor<?x5x12xf32>) outs(%joined_zero : tensor<?x2x12xf32>) {
  ^bb0(%share: f32, %value: f32, %before: f32):
    %after = math.fma %share, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x2x12xf32>
  %self_logits_empty = tensor.empty(%tokens) : tensor<?x2xf32>
  %self_logits_zero = linalg.fill ins(%zero : f32) outs(%self_logits_empty : tensor<?x2xf32>) -> tensor<?x2xf32>
  %self_logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %self_router : tensor<?x24xf32>, tensor<2x24xf32>) outs(%self_logits_zero : tensor<?x2xf32>) -> tensor<?x2xf32>
  %first_gate = tensor.extract_slice %self_logits[0, 0] [%tokens, 1] [1, 1] : tensor<?x2xf32> to tensor<?xf32>
  %first_joined = tensor.extract_slice %joined[0, 0, 0] [%tokens, 1, 12] [1, 1, 1] : tensor<?x2x12xf32> to tensor<?x12xf32>
  %first_own = tensor.extract_slice %experts[0, 2, 0] [%tokens, 1, 12] [1, 1, 1] : tensor<?x5x12xf32> to tensor<?x12xf32>
  %first_empty = tensor.empty(%tokens) : tensor<?x12xf32>
  %first = linalg.generic {indexing_maps = [#id, #id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%first_joined, %first_own, %first_gate : tensor<?x12xf32>, tensor<?x12xf32>, tensor<?xf32>) outs(%first_empty : tensor<?x12xf32>) {
  ^bb0(%sum: f32, %value: f32, %logit: f32, %unused: f32):
    %one = arith.constant 1.0 : f32
    %negative = arith.negf %logit : f32
    %exp = math.exp %negative : f32
    %divisor = arith.addf %exp, %one : f32
    %part = arith.divf %value, %divisor : f32
    %more = arith.addf %sum, %part : f32
    linalg.yield %more : f32
  } -> tensor<?x12xf32>
  %second_gate = tensor.extract_slice %self_logits[0, 1] [%tokens, 1] [1, 1] : tensor<?x2xf32> to tensor<?xf32>
  %second_joined = tensor.extract_slice %joined[0, 1, 0] [%tokens, 1, 12] [1, 1, 1] : tensor<?x2x12xf32> to tensor<?x12xf32>
  %second_own = tensor.extract_slice %experts[0, 4, 0] [%tokens, 1, 12] [1, 1, 1] : tensor<?x5x12xf32> to tensor<?x12xf32>
  %second_empty = tensor.empty(%tokens) : tensor<?x12xf32>
  %second = linalg.generic {indexing_maps = [#id, #id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%second_joined, %second_own, %second_gate : tensor<?x12xf32>, tensor<?x12xf32>, tensor<?xf32>) outs(%second_empty : tensor<?x12xf32>) {
  ^bb0(%sum: f32, %value: f32, %logit: f32, %unused: f32):
    %one = arith.constant 1.0 : f32
    %negative = arith.negf %logit : f32
    %exp = math.exp %negative : f32
    %divisor = arith.addf %exp, %one : f32
    %part = arith.divf %value, %divisor : f32
    %more = arith.addf %sum, %part : f32
    linalg.yield %more : f32
  } -> tensor<?x12xf32>
  return %first, %second : tensor<?x12xf32>, tensor<?x12xf32>
}
