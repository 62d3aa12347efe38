// Rows written to places that stand in memory: a copy in a parallel loop; and a whole copy.
func.func @scatter(%rows: tensor<?x8xf32> {moe.name = "rows"}, %places: tensor<?xi64> {moe.name = "places"}, %old: tensor<?x8xf32> {moe.name = "old"}) -> (tensor<?x8xf32> {moe.name = "new"}) {
  %c0 = arith.constant 0 : index
  %count = tensor.dim %rows, %c0 : tensor<?x8xf32>
  %new = scf.forall (%i) in (%count) shared_outs(%out = %old) -> (tensor<?x8xf32>) {
    %number = tensor.extract %places[%i] : tensor<?xi64>
    %place = arith.index_cast %number : i64 to index
    %row = tensor.extract_slice %rows[%i, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %row into %out[%place, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<?x8xf32>
    }
  }
  return %new : tensor<?x8xf32>
}
