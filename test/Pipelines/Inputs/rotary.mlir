// The sine of each element.
func.func @rotary(%x: tensor<?xf32> {moe.name = "x"}) -> (tensor<?xf32> {moe.name = "y"}) {
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%x : tensor<?xf32>) {
  ^bb0(%a: f32):
    %s = math.sin %a : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
