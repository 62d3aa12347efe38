// RUN: %systems %moe_bin %t %s
//
// BinaryMoS: a linear layer of signs between two scales, each a mix of four vectors by the token's softmax. What is mixed are
// parameters, so an expert gives its vector and does not look at the rows; all four are chosen.
//
// The sign of 0 (and of -0) is +1. @packed has the signs as bits, input k of output n in bit k of word n.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#column = affine_map<(i, j) -> (j)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @scale_in(#moe.bank_recipe<[#moe.source<"scale_in", tensor<4x24xf32>>]>) : !moe.bank<tensor<4x24xf32>>
ml_program.global private @scale_out(#moe.bank_recipe<[#moe.source<"scale_out", tensor<4x20xf32>>]>) : !moe.bank<tensor<4x20xf32>>
ml_program.global private @binary(#moe.source<"binary", tensor<20x24xf32>>) : tensor<20x24xf32>
ml_program.global private @offset(#moe.source<"offset", tensor<20xf32>>) : tensor<20xf32>

func.func @binarymos(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x20xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %scale_in = ml_program.global_load_const @scale_in : !moe.bank<tensor<4x24xf32>>
  %scale_out = ml_program.global_load_const @scale_out : !moe.bank<tensor<4x20xf32>>
  %offset = ml_program.global_load_const @offset : tensor<20xf32>
  %binary = ml_program.global_load_const @binary : tensor<20x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %mix = moe.select %logits policy(#moe.top_k<4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %signs_empty = tensor.empty() : tensor<20x24xf32>
  %signs = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%binary : tensor<20x24xf32>) outs(%signs_empty : tensor<20x24xf32>) {
  ^bb0(%value: f32, %unused: f32):
    %none = arith.constant 0.0 : f32
    %plus = arith.constant 1.0 : f32
    %minus = arith.constant -1.0 : f32
    %negative = arith.cmpf olt, %value, %none : f32
    %sign = arith.select %negative, %minus, %plus : f32
    linalg.yield %sign : f32
  } -> tensor<20x24xf32>
  // Shown:
  %s_in = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%mix : !moe.routing<? x 4, slots = 4>)
         banks(%scale_in : !moe.bank<tensor<4x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %scale: tensor<24xf32>):
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %empty = tensor.empty(%count) : tensor<?x24xf32>
    %all = linalg.broadcast ins(%scale : tensor<24xf32>) outs(%empty : tensor<?x24xf32>) dimensions = [0]
    moe.yield %all : tensor<?x24xf32>
  }
  %s_out = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%mix : !moe.routing<? x 4, slots = 4>)
         banks(%scale_out : !moe.bank<tensor<4x20xf32>>) combine(#moe.weighted_sum) -> tensor<?x20xf32> {
  ^bb0(%own: tensor<?x24xf32>, %scale: tensor<20xf32>):
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %empty = tensor.empty(%count) : tensor<?x20xf32>
    %all = linalg.broadcast ins(%scale : tensor<20xf32>) outs(%empty : tensor<?x20xf32>) dimensions = [0]
    moe.yield %all : tensor<?x20xf32>
  }
  %scaled = arith.mulf %x, %s_in : tensor<?x24xf32>
  %product_empty = tensor.empty(%tokens) : tensor<?x20xf32>
  %product_zero = linalg.fill ins(%zero : f32) outs(%product_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
  %product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%scaled, %signs : tensor<?x24xf32>, tensor<20x24xf32>) outs(%product_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x20xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%product, %s_out, %offset : tensor<?x20xf32>, tensor<?x20xf32>, tensor<20xf32>) outs(%y_empty : tensor<?x20xf32>) {
  ^bb0(%value: f32, %scale: f32, %b: f32, %unused: f32):
    %part = arith.mulf %value, %scale : f32
    %sum = arith.addf %part, %b : f32
    linalg.yield %sum : f32
  } -> tensor<?x20xf32>
  return %y : tensor<?x20xf32>
}

func.func @packed(%x: tensor<?x24xf32> {moe.name = "x"}, %bits: tensor<20xi32> {moe.name = "bits"}) -> (tensor<?x20xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %scale_in = ml_program.global_load_const @scale_in : !moe.bank<tensor<4x24xf32>>
  %scale_out = ml_program.global_load_const @scale_out : !moe.bank<tensor<4x20xf32>>
  %offset = ml_program.global_load_const @offset : tensor<20xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %mix = moe.select %logits policy(#moe.top_k<4>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %signs_empty = tensor.empty() : tensor<20x24xf32>
  %signs = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, #id], iterator_types = ["parallel", "parallel"]}
    ins(%bits : tensor<20xi32>) outs(%signs_empty : tensor<20x24xf32>) {
  ^bb0(%word: i32, %unused: f32):
    %one = arith.constant 1 : i32
    %number = linalg.index 1 : index
    %position = arith.index_cast %number : index to i32
    %shifted = arith.shrui %word, %position : i32
    %bit = arith.andi %shifted, %one : i32
    %whole = arith.sitofp %bit : i32 to f32
    %plus = arith.constant 1.0 : f32
    %minus_two = arith.constant -2.0 : f32
    %twice = arith.mulf %whole, %minus_two : f32
    %sign = arith.addf %twice, %plus : f32
    linalg.yield %sign : f32
  } -> tensor<20x24xf32>
  %s_in = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%mix : !moe.routing<? x 4, slots = 4>)
         banks(%scale_in : !moe.bank<tensor<4x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %scale: tensor<24xf32>):
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %empty = tensor.empty(%count) : tensor<?x24xf32>
    %all = linalg.broadcast ins(%scale : tensor<24xf32>) outs(%empty : tensor<?x24xf32>) dimensions = [0]
    moe.yield %all : tensor<?x24xf32>
  }
  %s_out = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%mix : !moe.routing<? x 4, slots = 4>)
         banks(%scale_out : !moe.bank<tensor<4x20xf32>>) combine(#moe.weighted_sum) -> tensor<?x20xf32> {
  ^bb0(%own: tensor<?x24xf32>, %scale: tensor<20xf32>):
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %empty = tensor.empty(%count) : tensor<?x20xf32>
    %all = linalg.broadcast ins(%scale : tensor<20xf32>) outs(%empty : tensor<?x20xf32>) dimensions = [0]
    moe.yield %all : tensor<?x20xf32>
  }
  %scaled = arith.mulf %x, %s_in : tensor<?x24xf32>
  %product_empty = tensor.empty(%tokens) : tensor<?x20xf32>
  %product_zero = linalg.fill ins(%zero : f32) outs(%product_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
  %product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%scaled, %signs : tensor<?x24xf32>, tensor<20x24xf32>) outs(%product_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
  %y_empty = tensor.empty(%tokens) : tensor<?x20xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%product, %s_out, %offset : tensor<?x20xf32>, tensor<?x20xf32>, tensor<20xf32>) outs(%y_empty : tensor<?x20xf32>) {
  ^bb0(%value: f32, %scale: f32, %b: f32, %unused: f32):
    %part = arith.mulf %value, %scale : f32
    %sum = arith.addf %part, %b : f32
    linalg.yield %sum : f32
  } -> tensor<?x20xf32>
  return %y : tensor<?x20xf32>
}
