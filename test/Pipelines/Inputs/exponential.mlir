// A function of the C library, elementwise.
func.func @exponential(%x: tensor<?xf32> {moe.name = "x"}) -> (tensor<?xf32> {moe.name = "y"}) {
  %y = linalg.exp ins(%x : tensor<?xf32>) outs(%x : tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}
