// A language model of 4 words, without weights or caches: each word follows itself.
module attributes {moe.language_model = {vocabulary = 4 : i64, max_context = 8 : i64}} {
  func.func @forward(%tokens: tensor<?xi32> {moe.name = "tokens", moe.role = "tokens"},
                     %positions: tensor<?xi32> {moe.name = "positions", moe.role = "positions"},
                     %sequences: tensor<?xi32> {moe.name = "sequences", moe.role = "sequences"},
                     %first_row: index {moe.name = "first_row", moe.role = "first_row"})
      -> (tensor<?x4xf32> {moe.name = "logits", moe.role = "logits"}) {
    %c0 = arith.constant 0 : index
    %all = tensor.dim %tokens, %c0 : tensor<?xi32>
    %rows = arith.subi %all, %first_row : index
    %asked = tensor.extract_slice %tokens[%first_row] [%rows] [1] : tensor<?xi32> to tensor<?xi32>
    %empty = tensor.empty(%rows) : tensor<?x4xf32>
    %logits = linalg.generic {indexing_maps = [affine_map<(t, v) -> (t)>, affine_map<(t, v) -> (t, v)>],
                              iterator_types = ["parallel", "parallel"]}
      ins(%asked : tensor<?xi32>) outs(%empty : tensor<?x4xf32>) {
    ^bb0(%token: i32, %unused: f32):
      %place = linalg.index 1 : index
      %word = arith.index_cast %place : index to i32
      %own = arith.cmpi eq, %word, %token : i32
      %number = arith.uitofp %own : i1 to f32
      linalg.yield %number : f32
    } -> tensor<?x4xf32>
    return %logits : tensor<?x4xf32>
  }
}
