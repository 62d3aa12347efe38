// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul))" | FileCheck %s
// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul))" --remarks-filter-missed=moe-tile.* --remark-format=emitRemark -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Tests that a product whose bank is not packed stays, with a remark.

// CHECK-LABEL: func.func @plain_bank
// CHECK:         moe.grouped_matmul

// REMARK: a bank is not packed in panels of 32 outputs

func.func @plain_bank(%x: tensor<?x64xf32>, %bank: !moe.bank<tensor<8x96x64xf32>>, %offsets: tensor<9xindex>,
                      %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%bank : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %h : tensor<?x96xf32>
}
