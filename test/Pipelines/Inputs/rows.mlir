// Each row is divided by its sum: loops that follow each other in a parallel loop.
func.func @rows(%x: tensor<?x8xf32> {moe.name = "x"}) -> (tensor<?x8xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %tokens = tensor.dim %x, %c0 : tensor<?x8xf32>
  %y = scf.forall (%i) in (%tokens) shared_outs(%all = %x) -> (tensor<?x8xf32>) {
    %row = tensor.extract_slice %all[%i, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
    %empty = tensor.empty() : tensor<f32>
    %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<f32>) -> tensor<f32>
    %sum = linalg.reduce ins(%row : tensor<8xf32>) outs(%start : tensor<f32>) dimensions = [0]
      (%a: f32, %s: f32) { %t = arith.addf %s, %a : f32 linalg.yield %t : f32 }
    %new = linalg.generic {indexing_maps = [affine_map<(j) -> ()>, affine_map<(j) -> (j)>], iterator_types = ["parallel"]}
      ins(%sum : tensor<f32>) outs(%row : tensor<8xf32>) {
    ^bb0(%s: f32, %a: f32):
      %q = arith.divf %a, %s : f32
      linalg.yield %q : f32
    } -> tensor<8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %new into %all[%i, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32>
    }
  }
  return %y : tensor<?x8xf32>
}
