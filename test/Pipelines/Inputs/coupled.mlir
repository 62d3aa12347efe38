// A language model of 4 words and 4 experts, each of which takes the two tokens of a call that score highest for it.
module attributes {moe.language_model = {vocabulary = 4 : i64, max_context = 8 : i64}} {
  func.func @forward(%tokens: tensor<?xi32> {moe.name = "tokens", moe.role = "tokens"},
                     %positions: tensor<?xi32> {moe.name = "positions", moe.role = "positions"},
                     %sequences: tensor<?xi32> {moe.name = "sequences", moe.role = "sequences"},
                     %first_row: index {moe.name = "first_row", moe.role = "first_row"})
      -> (tensor<?x4xf32> {moe.name = "logits", moe.role = "logits"}) {
    %c0 = arith.constant 0 : index
    %rows = tensor.dim %tokens, %c0 : tensor<?xi32>
    %empty = tensor.empty(%rows) : tensor<?x4xf32>
    %words = linalg.generic {indexing_maps = [affine_map<(t, v) -> (t)>, affine_map<(t, v) -> (t, v)>],
                             iterator_types = ["parallel", "parallel"]}
      ins(%tokens : tensor<?xi32>) outs(%empty : tensor<?x4xf32>) {
    ^bb0(%token: i32, %unused: f32):
      %number = arith.sitofp %token : i32 to f32
      linalg.yield %number : f32
    } -> tensor<?x4xf32>
    %two = arith.constant dense<2> : tensor<1xindex>
    %routing = moe.select %words policy(#moe.expert_choice) with(capacity = %two : tensor<1xindex>) score(#moe.identity)
      normalize(#moe.keep) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
    %logits = moe.experts rows(%words : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 4>)
           combine(#moe.weighted_sum) -> tensor<?x4xf32> {
    ^bb0(%own: tensor<?x4xf32>):
      moe.yield %own : tensor<?x4xf32>
    }
    return %logits : tensor<?x4xf32>
  }
}
