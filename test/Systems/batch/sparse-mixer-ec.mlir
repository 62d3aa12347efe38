// RUN: %systems %moe_bin %t %s
//
// Sparse Mixer: in each example every expert takes the tokens that score highest for it, tokens per example / experts of them;
// a token is weighed by its softmax over experts and may be taken by several experts or by none.
//
// Reading: the number is rounded up where it is none, so that no token of a short example is left without experts for lack of
// room. The weights are those of the widely used library; the paper does not say.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#all = affine_map<(s) -> (s)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @sparse_mixer_ec(%x: tensor<?x24xf32> {moe.name = "x"}, %example: tensor<?xi32> {moe.name = "example"},
                           %length: tensor<?xi32> {moe.name = "length"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %lengths = tensor.dim %length, %c0 : tensor<?xi32>
  %capacity_empty = tensor.empty(%lengths) : tensor<?xindex>
  %capacity = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel"]}
    ins(%length : tensor<?xi32>) outs(%capacity_empty : tensor<?xindex>) {
  ^bb0(%n: i32, %unused: index):
    %experts = arith.constant 8 : i32
    %rounded = arith.ceildivsi %n, %experts : i32
    %wide = arith.index_cast %rounded : i32 to index
    linalg.yield %wide : index
  } -> tensor<?xindex>
  %y = func.call @layer(%x, %example, %capacity) : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xindex>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// With a number of tokens that is given for each example.
func.func @given(%x: tensor<?x24xf32> {moe.name = "x"}, %example: tensor<?xi32> {moe.name = "example"},
                 %room: tensor<?xi32> {moe.name = "room"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %capacity = arith.index_cast %room : tensor<?xi32> to tensor<?xindex>
  %y = func.call @layer(%x, %example, %capacity) : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xindex>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Every expert for every token.
func.func @dense(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Who is taken by whom, all tokens of one example.
func.func @choice(%logits: tensor<?x8xf32> {moe.name = "logits"}, %room: tensor<1xi32> {moe.name = "room"})
    -> (tensor<?x8xi32> {moe.name = "ids"}, tensor<?x8xf32> {moe.name = "weights"}) {
  %capacity = arith.index_cast %room : tensor<1xi32> to tensor<1xindex>
  %routing = moe.select %logits policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.identity)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %ids, %weights : tensor<?x8xi32>, tensor<?x8xf32>
}

func.func private @layer(%x: tensor<?x24xf32>, %example: tensor<?xi32>, %capacity: tensor<?xindex>) -> tensor<?x24xf32> {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  // Shown:
  %routing = moe.select %logits policy(#moe.expert_choice)
    with(capacity = %capacity : tensor<?xindex>, groups = %example : tensor<?xi32>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>

  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32>
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

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 8>)
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
