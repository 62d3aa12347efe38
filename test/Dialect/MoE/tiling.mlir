// TilingInterface: tiles over rows and columns, with static and dynamic extents and a last tile that is smaller.
// The numbers of tiled operations are those of untiled ones: see Conversion/MoEToLinalg/numbers.test.
// RUN: moe-opt %s --transform-interpreter --canonicalize --cse -split-input-file -verify-diagnostics | FileCheck %s

// Tests that a gather takes all source rows and the tile's indices; 10 rows in tiles of 4 leave one of 2.
// CHECK-LABEL: @gather_static_tail
// CHECK-SAME: %[[SOURCE:[^:]+]]: tensor<?x64xf32>, %[[INDICES:[^:]+]]: tensor<10xindex>
// CHECK: scf.for %[[R:[^ ]+]] =
// CHECK: scf.for %[[C:[^ ]+]] =
// CHECK: %[[SIZE:.+]] = affine.min #{{.+}}(%[[R]])
// CHECK: %[[COLUMNS:.+]] = tensor.extract_slice %[[SOURCE]][0, %[[C]]] [%{{.+}}, 32] [1, 1]
// CHECK: %[[PART:.+]] = tensor.extract_slice %[[INDICES]][%[[R]]] [%[[SIZE]]] [1]
// CHECK: %[[TILE:.+]] = moe.gather ins(%[[COLUMNS]] : tensor<?x32xf32>) at(%[[PART]] : tensor<?xindex>)
// CHECK: tensor.insert_slice %[[TILE]] into %{{.+}}[%[[R]], %[[C]]] [%[[SIZE]], 32] [1, 1]
func.func @gather_static_tail(%x: tensor<?x64xf32>, %at: tensor<10xindex>, %init: tensor<10x64xf32>) -> tensor<10x64xf32> {
  %y = moe.gather ins(%x : tensor<?x64xf32>) at(%at : tensor<10xindex>) outs(%init : tensor<10x64xf32>) -> tensor<10x64xf32>
  return %y : tensor<10x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.gather"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [4, 32]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Tests that a row tile of a grouped product carries its own offsets, clamped to the tile: a tile may cut a group,
// hold a group's end, or hold nothing of a group.
// CHECK-LABEL: @grouped_matmul_rows_dynamic
// CHECK-SAME: %[[ROWS:[^:]+]]: tensor<?x4xf32>, %[[BANK:[^:]+]]: !moe.bank<tensor<2x6x4xf32>>, %[[OFFSETS:[^:]+]]: tensor<3xindex>
// CHECK: scf.for %[[R:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}}
// CHECK: %[[SIZE:.+]] = affine.min #{{.+}}(%[[R]])
// CHECK: %[[PART:.+]] = tensor.extract_slice %[[ROWS]][%[[R]], 0] [%[[SIZE]], 4] [1, 1]
// CHECK: %[[GROUPS:.+]] = tensor.generate {
// CHECK: %[[OFFSET:.+]] = tensor.extract %[[OFFSETS]]
// CHECK: %[[MOVED:.+]] = arith.subi %[[OFFSET]], %[[R]]
// CHECK: %[[LOW:.+]] = arith.maxsi %[[MOVED]], %{{.+}}
// CHECK: %[[CLAMPED:.+]] = arith.minsi %[[LOW]], %[[SIZE]]
// CHECK: tensor.yield %[[CLAMPED]]
// CHECK: %[[TILE:.+]] = moe.grouped_matmul ins(%[[PART]] : tensor<?x4xf32>) banks(%[[BANK]] : !moe.bank<tensor<2x6x4xf32>>)
// CHECK-SAME: groups(%[[GROUPS]] : tensor<3xindex>)
// CHECK: tensor.insert_slice %[[TILE]] into %{{.+}}[%[[R]], 0] [%[[SIZE]], 6] [1, 1]
func.func @grouped_matmul_rows_dynamic(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>, %offsets: tensor<3xindex>,
                                       %init: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.grouped_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops = transform.structured.tile_using_for %op tile_sizes [4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Tests that column tiles cut the banks, and that the epilogue goes along.
// CHECK-LABEL: @grouped_matmul_columns
// CHECK-SAME: %[[ROWS:[^:]+]]: tensor<8x4xf32>, %[[DATA:[^:]+]]: tensor<2x6x4xf32>
// CHECK: scf.for %[[C:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}}
// CHECK: %[[PART:.+]] = tensor.extract_slice %[[DATA]][0, %[[C]], 0] [2, 3, 4] [1, 1, 1]
// CHECK: %[[BANK:.+]] = moe.make_bank %[[PART]] : tensor<2x3x4xf32>
// CHECK: moe.grouped_matmul ins(%[[ROWS]] : tensor<8x4xf32>) banks(%[[BANK]] : !moe.bank<tensor<2x3x4xf32>>)
// CHECK: arith.negf
func.func @grouped_matmul_columns(%x: tensor<8x4xf32>, %data: tensor<2x6x4xf32>, %offsets: tensor<3xindex>,
                                  %init: tensor<8x6xf32>) -> tensor<8x6xf32> {
  %w = moe.make_bank %data : tensor<2x6x4xf32> -> !moe.bank<tensor<2x6x4xf32>>
  %y = moe.grouped_matmul ins(%x : tensor<8x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32> {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    moe.yield %n : f32
  }
  return %y : tensor<8x6xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.grouped_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops = transform.structured.tile_using_for %op tile_sizes [0, 3]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Tests that packed panels are not cut.
func.func @grouped_matmul_packed_columns(%x: tensor<8x4xf32>, %w: !moe.bank<tensor<2x2x4x4xf32>>,
                                         %offsets: tensor<3xindex>, %init: tensor<8x8xf32>) -> tensor<8x8xf32> {
  // expected-error @+2 {{faild to tile operation}}
  // expected-error @+1 {{failed to generate tiling loops}}
  %y = moe.grouped_matmul ins(%x : tensor<8x4xf32>) banks(%w : !moe.bank<tensor<2x2x4x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<8x8xf32>) -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.grouped_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops = transform.structured.tile_using_for %op tile_sizes [0, 4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Tests that a combine is tiled over tokens in a parallel loop: each takes its slots and weights, and any row.
// CHECK-LABEL: @combine_forall_dynamic
// CHECK-SAME: %[[ROWS:[^:]+]]: tensor<?x64xf32>, %[[SLOTS:[^:]+]]: tensor<?x2xindex>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
// CHECK: scf.forall (%[[TILE_NUMBER:.+]]) in (%{{.+}})
// CHECK: %[[T:.+]] = affine.apply #{{.+}}(%[[TILE_NUMBER]])
// CHECK: %[[SIZE:.+]] = affine.min #{{.+}}(%[[TILE_NUMBER]])
// CHECK: %[[ANY_ROW:.+]] = tensor.extract_slice %[[ROWS]][0, 0] [%{{.+}}, 64] [1, 1]
// CHECK: %[[TILE_SLOTS:.+]] = tensor.extract_slice %[[SLOTS]][%[[T]], 0] [%[[SIZE]], 2] [1, 1]
// CHECK: %[[TILE_WEIGHTS:.+]] = tensor.extract_slice %[[WEIGHTS]][%[[T]], 0] [%[[SIZE]], 2] [1, 1]
// CHECK: %[[TILE:.+]] = moe.combine ins(%[[ANY_ROW]] : tensor<?x64xf32>) at(%[[TILE_SLOTS]] : tensor<?x2xindex>) weights(%[[TILE_WEIGHTS]] : tensor<?x2xf32>)
// CHECK: tensor.parallel_insert_slice %[[TILE]] into %{{.+}}[%[[T]], 0] [%[[SIZE]], 64] [1, 1]
func.func @combine_forall_dynamic(%rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>,
                                  %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
    kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.combine"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_forall %op tile_sizes [16]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Tests that a gather fuses as producer into the tile of a grouped product: no loop of its own copies all rows.
// CHECK-LABEL: @gather_fused_as_producer
// CHECK-NOT: moe.gather
// CHECK: scf.for
// CHECK: %[[TILE:.+]] = moe.gather
// CHECK: moe.grouped_matmul ins(%[[TILE]]
func.func @gather_fused_as_producer(%x: tensor<?x4xf32>, %at: tensor<?xindex>, %g: tensor<?x4xf32>,
                                    %w: !moe.bank<tensor<2x6x4xf32>>, %offsets: tensor<3xindex>,
                                    %init: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %rows = moe.gather ins(%x : tensor<?x4xf32>) at(%at : tensor<?xindex>) outs(%g : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = moe.grouped_matmul ins(%rows : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["moe.grouped_matmul"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops = transform.structured.fuse %op tile_sizes [4]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
