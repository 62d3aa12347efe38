// More elements for the most tokens of a call than a grid has threads.
#id = affine_map<(i, j) -> (i, j)>
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 2147483647>} {
  func.func @f(%x: tensor<?x4096xf32> {moe.name = "x"}) -> (tensor<?x4096xf32> {moe.name = "y"}) {
    %c0 = arith.constant 0 : index
    %n = tensor.dim %x, %c0 : tensor<?x4096xf32>
    %e = tensor.empty(%n) : tensor<?x4096xf32>
    %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<?x4096xf32>) outs(%e : tensor<?x4096xf32>) {
    ^bb0(%a: f32, %unused: f32):
      %b = arith.addf %a, %a : f32
      linalg.yield %b : f32
    } -> tensor<?x4096xf32>
    return %y : tensor<?x4096xf32>
  }
}
