// A function that updates its argument in place and needs memory of its own.
func.func private @layer(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %tokens = tensor.dim %x, %c0 : tensor<?x8xf32>
  %empty = tensor.empty(%tokens) : tensor<?xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?xf32>) -> tensor<?xf32>
  %sums = linalg.reduce ins(%x : tensor<?x8xf32>) outs(%zeros : tensor<?xf32>) dimensions = [1]
    (%a: f32, %s: f32) { %sum = arith.addf %a, %s : f32 linalg.yield %sum : f32 }
  %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>],
                       iterator_types = ["parallel", "parallel"]}
    ins(%sums : tensor<?xf32>) outs(%x : tensor<?x8xf32>) {
  ^bb0(%s: f32, %a: f32):
    %p = arith.mulf %s, %a : f32
    linalg.yield %p : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
func.func @forward(%x: tensor<?x8xf32> {moe.name = "x"}) -> (tensor<?x8xf32> {moe.name = "y"}) {
  %y = call @layer(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %z = call @layer(%y) : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
