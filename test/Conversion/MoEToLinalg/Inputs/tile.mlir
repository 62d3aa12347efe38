// Tiles every gather, grouped product and combine by rows, four and three at a time: tiles with a tail, with group
// boundaries inside, and over empty groups.
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %gathers = transform.structured.match ops{["moe.gather"]} in %root : (!transform.any_op) -> !transform.any_op
    %g, %g_loops:2 = transform.structured.tile_using_for %gathers tile_sizes [4, 2]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    %products = transform.structured.match ops{["moe.grouped_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %p, %p_loops = transform.structured.tile_using_for %products tile_sizes [4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %combines = transform.structured.match ops{["moe.combine"]} in %root : (!transform.any_op) -> !transform.any_op
    %c, %c_loop = transform.structured.tile_using_forall %combines tile_sizes [3, 3]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
