// As many rows as a number in memory says, but no more than there are; the number is written by hand.
func.func @counted(%x: tensor<?x8xf32> {moe.name = "x"}, %numbers: tensor<2xi64> {moe.name = "numbers"}) -> (tensor<?x8xf32> {moe.name = "y"}, tensor<2xi64> {moe.name = "copy"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %most = tensor.dim %x, %c0 : tensor<?x8xf32>
  %wide = tensor.extract %numbers[%c0] : tensor<2xi64>
  %number = arith.index_cast %wide : i64 to index
  %count = arith.minsi %number, %most : index
  %copy = tensor.insert %wide into %numbers[%c1] : tensor<2xi64>
  %part = tensor.extract_slice %x[0, 0] [%count, 8] [1, 1] : tensor<?x8xf32> to tensor<?x8xf32>
  %empty = tensor.empty(%count) : tensor<?x8xf32>
  %twice = linalg.add ins(%part, %part : tensor<?x8xf32>, tensor<?x8xf32>) outs(%empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %out = tensor.empty(%most) : tensor<?x8xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%out : tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = tensor.insert_slice %twice into %zeros[0, 0] [%count, 8] [1, 1] : tensor<?x8xf32> into tensor<?x8xf32>
  return %y, %copy : tensor<?x8xf32>, tensor<2xi64>
}
