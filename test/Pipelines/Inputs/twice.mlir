// Gate and up over equal groups that are written down twice.
ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<1x7x8xf32>>]>) : !moe.bank<tensor<1x7x8xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<1x7x8xf32>>]>) : !moe.bank<tensor<1x7x8xf32>>
func.func @twice(%x: tensor<?x8xf32> {moe.name = "x"}) -> (tensor<?x7xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<1x7x8xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<1x7x8xf32>>
  %rows = tensor.dim %x, %c0 : tensor<?x8xf32>
  %empty = tensor.empty(%rows) : tensor<?x7xf32>
  %one = tensor.from_elements %c0, %rows : tensor<2xindex>
  %g = moe.grouped_matmul ins(%x : tensor<?x8xf32>) banks(%gate : !moe.bank<tensor<1x7x8xf32>>)
         groups(%one : tensor<2xindex>) outs(%empty : tensor<?x7xf32>) -> tensor<?x7xf32>
  %other = tensor.from_elements %c0, %rows : tensor<2xindex>
  %u = moe.grouped_matmul ins(%x : tensor<?x8xf32>) banks(%up : !moe.bank<tensor<1x7x8xf32>>)
         groups(%other : tensor<2xindex>) outs(%empty : tensor<?x7xf32>) -> tensor<?x7xf32>
  %y = linalg.mul ins(%g, %u : tensor<?x7xf32>, tensor<?x7xf32>) outs(%empty : tensor<?x7xf32>) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}
