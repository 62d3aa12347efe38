// One function per operation, with everything that can be said about it; lowered_numbers.py compiles and checks them.
func.func @select_biased(%l: tensor<?x8xf32>, %b: tensor<8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>) {
  %r = moe.select %l bias(%b : tensor<8xf32>) policy(#moe.top_k<3>) score(#moe.sigmoid) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %i, %w = moe.routing_parts %r : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %i, %w : tensor<?x3xi32>, tensor<?x3xf32>
}
func.func @select_all(%l: tensor<?x8xf32>) -> (tensor<?x8xi32>, tensor<?x8xf32>) {
  %r = moe.select %l policy(#moe.top_k<8>) score(#moe.identity) normalize(#moe.softmax_selected) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %i, %w = moe.routing_parts %r : !moe.routing<? x 8, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %i, %w : tensor<?x8xi32>, tensor<?x8xf32>
}
func.func @plan(%i: tensor<?x3xi32>, %w: tensor<?x3xf32>) -> (tensor<9xindex>, tensor<?xindex>, tensor<?x3xindex>) {
  %r = moe.make_routing %i, %w : tensor<?x3xi32>, tensor<?x3xf32> -> !moe.routing<? x 8, slots = 3>
  %a, %b, %c = moe.plan %r : !moe.routing<? x 8, slots = 3> -> tensor<9xindex>, tensor<?xindex>, tensor<?x3xindex>
  return %a, %b, %c : tensor<9xindex>, tensor<?xindex>, tensor<?x3xindex>
}
func.func @grouped_matmul(%x: tensor<?x5xf32>, %t: tensor<?xindex>, %g: tensor<4x7x5xbf16>, %u: tensor<4x2x5x4xf32>, %o: tensor<5xindex>) -> tensor<?x7xf32> {
  %gb = moe.make_bank %g : tensor<4x7x5xbf16> -> !moe.bank<tensor<4x7x5xbf16>>
  %ub = moe.make_bank %u : tensor<4x2x5x4xf32> -> !moe.bank<tensor<4x2x5x4xf32>>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %t, %c0 : tensor<?xindex>
  %e = tensor.empty(%n) : tensor<?x7xf32>
  %m1 = arith.constant -1.0 : f32
  %init = linalg.fill ins(%m1 : f32) outs(%e : tensor<?x7xf32>) -> tensor<?x7xf32>
  %h = moe.grouped_matmul ins(%x : tensor<?x5xf32>) at(%t : tensor<?xindex>)
           banks(%gb, %ub : !moe.bank<tensor<4x7x5xbf16>>, !moe.bank<tensor<4x2x5x4xf32>>)
           groups(%o : tensor<5xindex>) outs(%init : tensor<?x7xf32>) -> tensor<?x7xf32> {
    ^bb0(%a: f32, %b: f32):
      %p = arith.mulf %a, %b : f32
      %q = arith.addf %p, %m1 : f32
      moe.yield %q : f32
    }
  return %h : tensor<?x7xf32>
}
func.func @gather(%e: tensor<?x6xf16>, %i: tensor<?xi32>) -> tensor<?x6xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %i, %c0 : tensor<?xi32>
  %o = tensor.empty(%n) : tensor<?x6xf32>
  %y = moe.gather ins(%e : tensor<?x6xf16>) at(%i : tensor<?xi32>) outs(%o : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
func.func @experts(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %u: tensor<3x6x4xf32>, %s: tensor<6x4xf32>, %st: tensor<3x4xf32>) -> (tensor<?x6xf32>, tensor<3x4xf32>) {
  %r = moe.make_routing %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 3, slots = 2>
  %ub = moe.make_bank %u : tensor<3x6x4xf32> -> !moe.bank<tensor<3x6x4xf32>>
  %y, %n = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%r : !moe.routing<? x 3, slots = 2>) banks(%ub : !moe.bank<tensor<3x6x4xf32>>) shared(%s : tensor<6x4xf32>) state(%st : tensor<3x4xf32>)
    combine(#moe.weighted_sum) classes([0, 1, 0]) -> tensor<?x6xf32>, tensor<3x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %uu: tensor<6x4xf32>, %ss: tensor<6x4xf32>, %tt: tensor<4xf32>):
    %c0 = arith.constant 0 : index
    %z = arith.constant 0.0 : f32
    %m = tensor.dim %rows, %c0 : tensor<?x4xf32>
    %e = tensor.empty(%m) : tensor<?x6xf32>
    %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p = linalg.generic {indexing_maps=[affine_map<(m,n,k)->(m,k)>, affine_map<(m,n,k)->(n,k)>, affine_map<(m,n,k)->(m,n)>], iterator_types=["parallel","parallel","reduction"]} ins(%rows, %uu : tensor<?x4xf32>, tensor<6x4xf32>) outs(%f : tensor<?x6xf32>) {
      ^bb0(%a: f32, %b: f32, %c: f32):
       %q = math.fma %a, %b, %c : f32
       linalg.yield %q : f32 } -> tensor<?x6xf32>
    %sum = linalg.generic {indexing_maps=[affine_map<(k,m)->(m,k)>, affine_map<(k,m)->(k)>], iterator_types=["parallel","reduction"]} ins(%rows : tensor<?x4xf32>) outs(%tt : tensor<4xf32>) {
      ^bb0(%a: f32, %c: f32):
       %q = arith.addf %a, %c : f32
       linalg.yield %q : f32 } -> tensor<4xf32>
    moe.yield %p, %sum : tensor<?x6xf32>, tensor<4xf32>
  }, {
  ^bb0(%rows: tensor<?x4xf32>, %uu: tensor<6x4xf32>, %ss: tensor<6x4xf32>, %tt: tensor<4xf32>):
    %c0 = arith.constant 0 : index
    %z = arith.constant 0.0 : f32
    %m = tensor.dim %rows, %c0 : tensor<?x4xf32>
    %e = tensor.empty(%m) : tensor<?x6xf32>
    %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x6xf32>) -> tensor<?x6xf32>
    %p = linalg.generic {indexing_maps=[affine_map<(m,n,k)->(m,k)>, affine_map<(m,n,k)->(n,k)>, affine_map<(m,n,k)->(m,n)>], iterator_types=["parallel","parallel","reduction"]} ins(%rows, %ss : tensor<?x4xf32>, tensor<6x4xf32>) outs(%f : tensor<?x6xf32>) {
      ^bb0(%a: f32, %b: f32, %c: f32):
       %q = math.fma %a, %b, %c : f32
       linalg.yield %q : f32 } -> tensor<?x6xf32>
    moe.yield %p, %tt : tensor<?x6xf32>, tensor<4xf32>
  }
  return %y, %n : tensor<?x6xf32>, tensor<3x4xf32>
}
func.func @combine(%rows: tensor<?x4xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %z = arith.constant 0.0 : f32
  %n = tensor.dim %slots, %c0 : tensor<?x2xindex>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %init = linalg.fill ins(%z : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = moe.combine ins(%rows : tensor<?x4xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
    kind(#moe.weighted_sum) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
