// A parallel loop inside a parallel loop.
func.func @nested(%x: tensor<?x8xf32> {moe.name = "x"}) -> (tensor<?x8xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  %tokens = tensor.dim %x, %c0 : tensor<?x8xf32>
  %y = scf.forall (%i) in (%tokens) shared_outs(%outer = %x) -> (tensor<?x8xf32>) {
    %row = tensor.extract_slice %outer[%i, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
    %new = scf.forall (%j) in (8) shared_outs(%inner = %row) -> (tensor<1x8xf32>) {
      %element = tensor.extract_slice %inner[0, %j] [1, 1] [1, 1] : tensor<1x8xf32> to tensor<1x1xf32>
      %set = linalg.fill ins(%one : f32) outs(%element : tensor<1x1xf32>) -> tensor<1x1xf32>
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %set into %inner[0, %j] [1, 1] [1, 1] : tensor<1x1xf32> into tensor<1x8xf32>
      }
    }
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %new into %outer[%i, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<?x8xf32>
    }
  }
  return %y : tensor<?x8xf32>
}
