// Tests which extents of arguments are found to be equal.
//
// RUN: moe-compile %s --emit=moe | FileCheck %s

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

// Elementwise; the third has an extent of its own.
// CHECK-LABEL: func.func @sum(
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?x4xf32> {moe.extents = array<i64: 1>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?x4xf32> {moe.extents = array<i64: 1>}, %{{[a-z0-9]+}}: tensor<?xf32>)
func.func @sum(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>, %z: tensor<?xf32>) -> (tensor<?x4xf32>, tensor<?xf32>) {
  %sum = arith.addf %x, %y : tensor<?x4xf32>
  return %sum, %z : tensor<?x4xf32>, tensor<?xf32>
}

// A product: the sum's extent, and the rows by way of the number that the result is made with.
// CHECK-LABEL: func.func @product(
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?x?xf32> {moe.extents = array<i64: 0, 1>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<4x?xf32> {moe.extents = array<i64: 0, 1>})
func.func @product(%x: tensor<?x?xf32>, %w: tensor<4x?xf32>) -> tensor<?x4xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x?xf32>
  %empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = linalg.matmul indexing_maps = [#rows, #weight, #out] ins(%x, %w : tensor<?x?xf32>, tensor<4x?xf32>)
    outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A choice and what it reads, but not a capacity, whose extent counts groups.
// CHECK-LABEL: func.func @choice(
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?x8xf32> {moe.extents = array<i64: 1>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?xi32> {moe.extents = array<i64: 1>}, %{{[a-z0-9]+}}: tensor<?xi32> {moe.extents = array<i64: 1>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?xi32>)
func.func @choice(%logits: tensor<?x8xf32>, %k: tensor<?xi32>, %groups: tensor<?xi32>, %room: tensor<?xi32>)
    -> !moe.routing<? x 8, slots = 2> {
  %all = moe.select %logits policy(#moe.top_k<2>) with(k = %k : tensor<?xi32>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %capacity = arith.index_cast %room : tensor<?xi32> to tensor<?xindex>
  %left = moe.limit %all capacity(%capacity : tensor<?xindex>) groups(%groups : tensor<?xi32>) priority(token)
    : !moe.routing<? x 8, slots = 2>
  return %left : !moe.routing<? x 8, slots = 2>
}

// Decisions of sequences are as many as there are sequences; a routing's parts are equal to one another.
// CHECK-LABEL: func.func @given(
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?x4xf32> {moe.extents = array<i64: 1>},
// CHECK-SAME: {moe.extents = array<i64: 2>}, %{{[a-z0-9]+}}: tensor<?xi32> {moe.extents = array<i64: 1>})
func.func @given(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2, scope = sequence>,
                 %sequences: tensor<?xi32>)
    -> tensor<?x4xf32> {
  %tokens = moe.spread %routing over(%sequences : tensor<?xi32>)
    : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%tokens : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// Each call of a function has extents of its own, and what a branch asks for may not be met.
// CHECK-LABEL: func.func @calls(
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?xf32> {moe.extents = array<i64: 1>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?xf32> {moe.extents = array<i64: 1>}, %{{[a-z0-9]+}}: tensor<?xf32> {moe.extents = array<i64: 2>},
// CHECK-SAME: %{{[a-z0-9]+}}: tensor<?xf32> {moe.extents = array<i64: 2>})
func.func @calls(%a: tensor<?xf32>, %b: tensor<?xf32>, %c: tensor<?xf32>, %d: tensor<?xf32>)
    -> (tensor<?xf32>, tensor<?xf32>) {
  %one = func.call @add(%a, %b) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %two = func.call @add(%c, %d) : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  %c0 = arith.constant 0 : index
  %first = tensor.dim %a, %c0 : tensor<?xf32>
  %second = tensor.dim %c, %c0 : tensor<?xf32>
  %equal = arith.cmpi eq, %first, %second : index
  %sum = scf.if %equal -> tensor<?xf32> {
    %both = arith.addf %one, %two : tensor<?xf32>
    scf.yield %both : tensor<?xf32>
  } else {
    scf.yield %one : tensor<?xf32>
  }
  return %sum, %two : tensor<?xf32>, tensor<?xf32>
}

func.func private @add(%x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<?xf32> {
  %sum = arith.addf %x, %y : tensor<?xf32>
  return %sum : tensor<?xf32>
}
