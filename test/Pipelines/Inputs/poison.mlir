// A value that folds leave where nothing may be read.
func.func @poison(%x: tensor<4xi32> {moe.name = "x"}) -> (tensor<4xi32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %0 = ub.poison : i32
  %y = tensor.insert %0 into %x[%c0] : tensor<4xi32>
  return %y : tensor<4xi32>
}
