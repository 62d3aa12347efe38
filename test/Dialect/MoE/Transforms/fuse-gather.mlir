// RUN: moe-opt %s --moe-fuse-gather --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s

// Tests that the products read the source at the gather's indices, and that no gather is left.
// CHECK-LABEL: func.func @two_readers(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[TOKENS:[^:]+]]: tensor<?xindex>
// CHECK-NOT:     moe.gather
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] : tensor<?xindex>)
// CHECK-NOT:     moe.gather
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] : tensor<?xindex>)
func.func @two_readers(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                       %w: !moe.bank<tensor<8x96x64xf32>>, %empty: tensor<?x64xf32>, %init: tensor<?x96xf32>)
    -> (tensor<?x96xf32>, tensor<?x96xf32>) {
  %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  %u = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %g, %u : tensor<?x96xf32>, tensor<?x96xf32>
}

// -----

// Tests that a size read from the gathered rows does not keep them alive, and static sizes.
// CHECK-LABEL: func.func @size_of_rows(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<4x64xf32>, %[[TOKENS:[^:]+]]: tensor<?xi32>
// CHECK-SAME:    %[[EMPTY:[^:]+]]: tensor<?x64xf32>
// CHECK-NOT:     moe.gather
// CHECK:         %[[SIZE:.+]] = tensor.dim %[[EMPTY]]
// CHECK:         %[[INIT:.+]] = tensor.empty(%[[SIZE]])
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<4x64xf32>) at(%[[TOKENS]] : tensor<?xi32>)
// CHECK-SAME:      outs(%[[INIT]] : tensor<?x96xf32>)
func.func @size_of_rows(%x: tensor<4x64xf32>, %tokens: tensor<?xi32>, %offsets: tensor<2xindex>,
                        %w: !moe.bank<tensor<1x96x64xbf16>>, %empty: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %c0 = arith.constant 0 : index
  %rows = moe.gather ins(%x : tensor<4x64xf32>) at(%tokens : tensor<?xi32>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %size = tensor.dim %rows, %c0 : tensor<?x64xf32>
  %init = tensor.empty(%size) : tensor<?x96xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<1x96x64xbf16>>)
         groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %g : tensor<?x96xf32>
}

// -----

// Tests that rows with another reader are kept.
// CHECK-LABEL: func.func @other_reader(
// CHECK:         %[[ROWS:.+]] = moe.gather
// CHECK:         moe.grouped_matmul ins(%[[ROWS]] :
func.func @other_reader(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                        %w: !moe.bank<tensor<8x96x64xf32>>, %empty: tensor<?x64xf32>, %init: tensor<?x96xf32>)
    -> (tensor<?x96xf32>, tensor<?x64xf32>) {
  // expected-remark @below {{its rows are read by something else than a grouped product}}
  %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %g, %rows : tensor<?x96xf32>, tensor<?x64xf32>
}

// -----

// Tests that rows are kept where a product starts from them as its init.
// CHECK-LABEL: func.func @rows_as_init(
// CHECK:         %[[ROWS:.+]] = moe.gather
// CHECK:         moe.grouped_matmul ins(%[[ROWS]] :
// CHECK-SAME:      outs(%[[ROWS]] :
func.func @rows_as_init(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                        %w: !moe.bank<tensor<8x64x64xf32>>, %empty: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-remark @below {{its rows are read by something else than a grouped product}}
  %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x64x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%rows : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %g : tensor<?x64xf32>
}

// -----

// Tests that a gather that widens is kept.
// CHECK-LABEL: func.func @widens(
// CHECK:         moe.gather
func.func @widens(%x: tensor<?x64xbf16>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                  %w: !moe.bank<tensor<8x96x64xf32>>, %empty: tensor<?x64xf32>, %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
  // expected-remark @below {{it widens its rows, and grouped products read rows as f32}}
  %rows = moe.gather ins(%x : tensor<?x64xbf16>) at(%tokens : tensor<?xindex>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %g : tensor<?x96xf32>
}

// -----

// Tests that indices are not composed.
// CHECK-LABEL: func.func @indexed_already(
// CHECK:         moe.gather
func.func @indexed_already(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                           %w: !moe.bank<tensor<8x96x64xf32>>, %empty: tensor<?x64xf32>, %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
  // expected-remark @below {{a grouped product picks from its rows by index already}}
  %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %g = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %g : tensor<?x96xf32>
}
