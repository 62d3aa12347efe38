// RUN: %systems %moe_bin %t %s
//
// pMoE: each expert takes its two best patches of each sample, and the gate multiplies what goes in. The choice is made by
// moe.select with the roles exchanged: rows are (sample, expert), and what is chosen are patches. A sample is never mixed
// with another, so its result does not depend on the batch.
//
// The published code has two gates: softmax over the chosen scores (the system's own function), and softmax over all
// patches with the chosen values kept (@over_all).

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
#chosen = affine_map<(s, j, e, l) -> (s, e, l)>
#taken = affine_map<(s, j, e, l) -> (s, j, e)>
#patch = affine_map<(s, j, m) -> (s, j, m)>
#sample = affine_map<(s, j, m) -> (s, m)>

ml_program.global private @router(#moe.source<"router", tensor<4x8xf32>>) : tensor<4x8xf32>
ml_program.global private @filters(#moe.bank_recipe<[#moe.source<"filters", tensor<4x6x8xf32>>]>) : !moe.bank<tensor<4x6x8xf32>>
ml_program.global private @heads(#moe.bank_recipe<[#moe.source<"heads", tensor<4x3x6xf32>>]>) : !moe.bank<tensor<4x3x6xf32>>

func.func @pmoe_patch(%x: tensor<?x5x8xf32> {moe.name = "x"}) -> (tensor<?x3xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %samples = tensor.dim %x, %c0 : tensor<?x5x8xf32>
  %c5 = arith.constant 5 : index
  %tokens = arith.muli %samples, %c5 : index
  %router = ml_program.global_load_const @router : tensor<4x8xf32>
  %filters = ml_program.global_load_const @filters : !moe.bank<tensor<4x6x8xf32>>
  %heads = ml_program.global_load_const @heads : !moe.bank<tensor<4x3x6xf32>>
  %patches = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x5x8xf32> into tensor<?x8xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%patches, %router : tensor<?x8xf32>, tensor<4x8xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  // Each expert looks at the patches of one sample as a token looks at experts: rows are (sample, expert).
  %of_samples = tensor.expand_shape %logits [[0, 1], [2]] output_shape [%samples, 5, 4] : tensor<?x4xf32> into tensor<?x5x4xf32>
  %turned_empty = tensor.empty(%samples) : tensor<?x4x5xf32>
  %turned = linalg.transpose ins(%of_samples : tensor<?x5x4xf32>) outs(%turned_empty : tensor<?x4x5xf32>) permutation = [0, 2, 1]
  %of_experts = tensor.collapse_shape %turned [[0, 1], [2]] : tensor<?x4x5xf32> into tensor<?x5xf32>
  // Shown:
  %choice = moe.select %of_experts policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x5xf32> -> !moe.routing<? x 5, slots = 2>
  %patch_ids, %gates = moe.routing_parts %choice : !moe.routing<? x 5, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  %chosen = tensor.expand_shape %patch_ids [[0, 1], [2]] output_shape [%samples, 4, 2] : tensor<?x2xi32> into tensor<?x4x2xi32>
  %gate = tensor.expand_shape %gates [[0, 1], [2]] output_shape [%samples, 4, 2] : tensor<?x2xf32> into tensor<?x4x2xf32>
  // Back to patches: slot e of a patch is expert e if that took it, with its gate.
  %ids_empty = tensor.empty(%samples) : tensor<?x5x4xi32>
  %nobody = arith.constant -1 : i32
  %ids_init = linalg.fill ins(%nobody : i32) outs(%ids_empty : tensor<?x5x4xi32>) -> tensor<?x5x4xi32>
  %ids = linalg.generic {indexing_maps = [#chosen, #taken], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
    ins(%chosen : tensor<?x4x2xi32>) outs(%ids_init : tensor<?x5x4xi32>) {
  ^bb0(%id: i32, %before: i32):
    %patch = linalg.index 1 : index
    %expert = linalg.index 2 : index
    %number = arith.index_cast %patch : index to i32
    %this = arith.index_cast %expert : index to i32
    %takes = arith.cmpi eq, %id, %number : i32
    %after = arith.select %takes, %this, %before : i32
    linalg.yield %after : i32
  } -> tensor<?x5x4xi32>
  %weights_empty = tensor.empty(%samples) : tensor<?x5x4xf32>
  %weights_init = linalg.fill ins(%zero : f32) outs(%weights_empty : tensor<?x5x4xf32>) -> tensor<?x5x4xf32>
  %weights = linalg.generic {indexing_maps = [#chosen, #chosen, #taken], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
    ins(%chosen, %gate : tensor<?x4x2xi32>, tensor<?x4x2xf32>) outs(%weights_init : tensor<?x5x4xf32>) {
  ^bb0(%id: i32, %value: f32, %before: f32):
    %patch = linalg.index 1 : index
    %number = arith.index_cast %patch : index to i32
    %takes = arith.cmpi eq, %id, %number : i32
    %after = arith.select %takes, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x5x4xf32>
  %flat_ids = tensor.collapse_shape %ids [[0, 1], [2]] : tensor<?x5x4xi32> into tensor<?x4xi32>
  %flat_weights = tensor.collapse_shape %weights [[0, 1], [2]] : tensor<?x5x4xf32> into tensor<?x4xf32>
  %routing = moe.make_routing %flat_ids, %flat_weights : tensor<?x4xi32>, tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %given = moe.experts rows(%patches : tensor<?x8xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 4>) with_weights
         banks(%filters, %heads : !moe.bank<tensor<4x6x8xf32>>, !moe.bank<tensor<4x3x6xf32>>)
         combine(#moe.sum) -> tensor<?x3xf32> {
  ^bb0(%own: tensor<?x8xf32>, %share: tensor<?xf32>, %f: tensor<6x8xf32>, %h: tensor<3x6xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x8xf32>
    %scaled_empty = tensor.empty(%count) : tensor<?x8xf32>
    %scaled = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%own, %share : tensor<?x8xf32>, tensor<?xf32>) outs(%scaled_empty : tensor<?x8xf32>) {
    ^bb0(%value: f32, %part: f32, %unused: f32):
      %product = arith.mulf %value, %part : f32
      linalg.yield %product : f32
    } -> tensor<?x8xf32>
    %filtered_empty = tensor.empty(%count) : tensor<?x6xf32>
    %filtered_zero = linalg.fill ins(%none : f32) outs(%filtered_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
    %filtered = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%scaled, %f : tensor<?x8xf32>, tensor<6x8xf32>) outs(%filtered_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
    %positive = arith.maximumf %filtered, %filtered_zero : tensor<?x6xf32>
    %classes_empty = tensor.empty(%count) : tensor<?x3xf32>
    %classes_zero = linalg.fill ins(%none : f32) outs(%classes_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
    %classes = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%positive, %h : tensor<?x6xf32>, tensor<3x6xf32>) outs(%classes_zero : tensor<?x3xf32>) -> tensor<?x3xf32>
    moe.yield %classes : tensor<?x3xf32>
  }
  %of_sample = tensor.expand_shape %given [[0, 1], [2]] output_shape [%samples, 5, 3] : tensor<?x3xf32> into tensor<?x5x3xf32>
  %y_empty = tensor.empty(%samples) : tensor<?x3xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
  %y = linalg.generic {indexing_maps = [#patch, #sample], iterator_types = ["parallel", "reduction", "parallel"]}
    ins(%of_sample : tensor<?x5x3xf32>) outs(%y_zero : tensor<?x3xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %before, %value : f32
    linalg.yield %after : f32
  } -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

func.func @over_all(%x: tensor<?x5x8xf32> {moe.name = "x"}) -> (tensor<?x3xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %samples = tensor.dim %x, %c0 : tensor<?x5x8xf32>
  %c5 = arith.constant 5 : index
  %tokens = arith.muli %samples, %c5 : index
  %router = ml_program.global_load_const @router : tensor<4x8xf32>
  %filters = ml_program.global_load_const @filters : !moe.bank<tensor<4x6x8xf32>>
  %heads = ml_program.global_load_const @heads : !moe.bank<tensor<4x3x6xf32>>
  %patches = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x5x8xf32> into tensor<?x8xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%patches, %router : tensor<?x8xf32>, tensor<4x8xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  // Each expert looks at the patches of one sample as a token looks at experts: rows are (sample, expert).
  %of_samples = tensor.expand_shape %logits [[0, 1], [2]] output_shape [%samples, 5, 4] : tensor<?x4xf32> into tensor<?x5x4xf32>
  %turned_empty = tensor.empty(%samples) : tensor<?x4x5xf32>
  %turned = linalg.transpose ins(%of_samples : tensor<?x5x4xf32>) outs(%turned_empty : tensor<?x4x5xf32>) permutation = [0, 2, 1]
  %of_experts = tensor.collapse_shape %turned [[0, 1], [2]] : tensor<?x4x5xf32> into tensor<?x5xf32>
  // Shown:
  %choice = moe.select %of_experts policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x5xf32> -> !moe.routing<? x 5, slots = 2>
  %patch_ids, %gates = moe.routing_parts %choice : !moe.routing<? x 5, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  %chosen = tensor.expand_shape %patch_ids [[0, 1], [2]] output_shape [%samples, 4, 2] : tensor<?x2xi32> into tensor<?x4x2xi32>
  %gate = tensor.expand_shape %gates [[0, 1], [2]] output_shape [%samples, 4, 2] : tensor<?x2xf32> into tensor<?x4x2xf32>
  // Back to patches: slot e of a patch is expert e if that took it, with its gate.
  %ids_empty = tensor.empty(%samples) : tensor<?x5x4xi32>
  %nobody = arith.constant -1 : i32
  %ids_init = linalg.fill ins(%nobody : i32) outs(%ids_empty : tensor<?x5x4xi32>) -> tensor<?x5x4xi32>
  %ids = linalg.generic {indexing_maps = [#chosen, #taken], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
    ins(%chosen : tensor<?x4x2xi32>) outs(%ids_init : tensor<?x5x4xi32>) {
  ^bb0(%id: i32, %before: i32):
    %patch = linalg.index 1 : index
    %expert = linalg.index 2 : index
    %number = arith.index_cast %patch : index to i32
    %this = arith.index_cast %expert : index to i32
    %takes = arith.cmpi eq, %id, %number : i32
    %after = arith.select %takes, %this, %before : i32
    linalg.yield %after : i32
  } -> tensor<?x5x4xi32>
  %weights_empty = tensor.empty(%samples) : tensor<?x5x4xf32>
  %weights_init = linalg.fill ins(%zero : f32) outs(%weights_empty : tensor<?x5x4xf32>) -> tensor<?x5x4xf32>
  %weights = linalg.generic {indexing_maps = [#chosen, #chosen, #taken], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
    ins(%chosen, %gate : tensor<?x4x2xi32>, tensor<?x4x2xf32>) outs(%weights_init : tensor<?x5x4xf32>) {
  ^bb0(%id: i32, %value: f32, %before: f32):
    %patch = linalg.index 1 : index
    %number = arith.index_cast %patch : index to i32
    %takes = arith.cmpi eq, %id, %number : i32
    %after = arith.select %takes, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x5x4xf32>
  %flat_ids = tensor.collapse_shape %ids [[0, 1], [2]] : tensor<?x5x4xi32> into tensor<?x4xi32>
  %flat_weights = tensor.collapse_shape %weights [[0, 1], [2]] : tensor<?x5x4xf32> into tensor<?x4xf32>
  %routing = moe.make_routing %flat_ids, %flat_weights : tensor<?x4xi32>, tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %given = moe.experts rows(%patches : tensor<?x8xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 4>) with_weights
         banks(%filters, %heads : !moe.bank<tensor<4x6x8xf32>>, !moe.bank<tensor<4x3x6xf32>>)
         combine(#moe.sum) -> tensor<?x3xf32> {
  ^bb0(%own: tensor<?x8xf32>, %share: tensor<?xf32>, %f: tensor<6x8xf32>, %h: tensor<3x6xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x8xf32>
    %scaled_empty = tensor.empty(%count) : tensor<?x8xf32>
    %scaled = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%own, %share : tensor<?x8xf32>, tensor<?xf32>) outs(%scaled_empty : tensor<?x8xf32>) {
    ^bb0(%value: f32, %part: f32, %unused: f32):
      %product = arith.mulf %value, %part : f32
      linalg.yield %product : f32
    } -> tensor<?x8xf32>
    %filtered_empty = tensor.empty(%count) : tensor<?x6xf32>
    %filtered_zero = linalg.fill ins(%none : f32) outs(%filtered_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
    %filtered = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%scaled, %f : tensor<?x8xf32>, tensor<6x8xf32>) outs(%filtered_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
    %positive = arith.maximumf %filtered, %filtered_zero : tensor<?x6xf32>
    %classes_empty = tensor.empty(%count) : tensor<?x3xf32>
    %classes_zero = linalg.fill ins(%none : f32) outs(%classes_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
    %classes = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%positive, %h : tensor<?x6xf32>, tensor<3x6xf32>) outs(%classes_zero : tensor<?x3xf32>) -> tensor<?x3xf32>
    moe.yield %classes : tensor<?x3xf32>
  }
  %of_sample = tensor.expand_shape %given [[0, 1], [2]] output_shape [%samples, 5, 3] : tensor<?x3xf32> into tensor<?x5x3xf32>
  %y_empty = tensor.empty(%samples) : tensor<?x3xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x3xf32>) -> tensor<?x3xf32>
  %y = linalg.generic {indexing_maps = [#patch, #sample], iterator_types = ["parallel", "reduction", "parallel"]}
    ins(%of_sample : tensor<?x5x3xf32>) outs(%y_zero : tensor<?x3xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %before, %value : f32
    linalg.yield %after : f32
  } -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
