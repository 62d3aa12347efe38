// RUN: moe-opt %s --split-input-file --moe-pack-weights | FileCheck %s

// Tests that a bank is packed where it is stored, part by part, and that its type changes on the way to the product.

// CHECK:       ml_program.global private @up(#moe.bank_recipe<[#moe.stack<[#moe.panels<#moe.source<"e0", tensor<70x64xbf16>>, width = 32>, #moe.panels<#moe.source<"e1", tensor<70x64xbf16>>, width = 32>]>]>) : !moe.bank<tensor<2x3x64x32xbf16>>
// CHECK-LABEL: func.func private @layer
// CHECK-SAME:    %[[ROWS:[^:]+]]: tensor<?x64xf32>, %[[BANK:[^:]+]]: !moe.bank<tensor<2x3x64x32xbf16>>
// CHECK:         moe.grouped_matmul ins(%[[ROWS]] : tensor<?x64xf32>) banks(%[[BANK]] : !moe.bank<tensor<2x3x64x32xbf16>>)
// CHECK-LABEL: func.func @forward
// CHECK:         %[[LOADED:.+]] = ml_program.global_load_const @up : !moe.bank<tensor<2x3x64x32xbf16>>
// CHECK:         call @layer(%{{.+}}, %[[LOADED]],
ml_program.global private @up(#moe.bank_recipe<[#moe.stack<[#moe.source<"e0", tensor<70x64xbf16>>, #moe.source<"e1", tensor<70x64xbf16>>]>]>) : !moe.bank<tensor<2x70x64xbf16>>
func.func private @layer(%x: tensor<?x64xf32>, %up: !moe.bank<tensor<2x70x64xbf16>>, %offsets: tensor<3xindex>,
                         %init: tensor<?x70xf32>) -> tensor<?x70xf32> {
  %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%up : !moe.bank<tensor<2x70x64xbf16>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x70xf32>) -> tensor<?x70xf32>
  return %h : tensor<?x70xf32>
}
func.func @forward(%x: tensor<?x64xf32>, %offsets: tensor<3xindex>, %init: tensor<?x70xf32>) -> tensor<?x70xf32> {
  %up = ml_program.global_load_const @up : !moe.bank<tensor<2x70x64xbf16>>
  %h = call @layer(%x, %up, %offsets, %init)
    : (tensor<?x64xf32>, !moe.bank<tensor<2x70x64xbf16>>, tensor<3xindex>, tensor<?x70xf32>) -> tensor<?x70xf32>
  return %h : tensor<?x70xf32>
}

// -----

// Tests that a global which is read otherwise too stays, with a packed one beside it. A recipe that is no stack is
// packed as a whole.

// CHECK:       ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<2x64x48xf32>>]>) : !moe.bank<tensor<2x64x48xf32>>
// CHECK:       ml_program.global private @w_packed(#moe.bank_recipe<[#moe.panels<#moe.source<"w", tensor<2x64x48xf32>>, width = 32>]>) : !moe.bank<tensor<2x2x48x32xf32>>
// CHECK-LABEL: func.func @shared
// CHECK-DAG:     %[[PLAIN:.+]] = ml_program.global_load_const @w : !moe.bank<tensor<2x64x48xf32>>
// CHECK-DAG:     %[[PACKED:.+]] = ml_program.global_load_const @w_packed : !moe.bank<tensor<2x2x48x32xf32>>
// CHECK:         moe.bank_parts %[[PLAIN]]
// CHECK:         moe.grouped_matmul {{.+}} banks(%[[PACKED]] :
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<2x64x48xf32>>]>) : !moe.bank<tensor<2x64x48xf32>>
func.func @shared(%x: tensor<?x48xf32>, %offsets: tensor<3xindex>, %init: tensor<?x64xf32>)
    -> (tensor<2x64x48xf32>, tensor<?x64xf32>) {
  %w = ml_program.global_load_const @w : !moe.bank<tensor<2x64x48xf32>>
  %data = moe.bank_parts %w : !moe.bank<tensor<2x64x48xf32>> -> tensor<2x64x48xf32>
  %h = moe.grouped_matmul ins(%x : tensor<?x48xf32>) banks(%w : !moe.bank<tensor<2x64x48xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %data, %h : tensor<2x64x48xf32>, tensor<?x64xf32>
}

// -----

// Tests that a load that nobody reads does not keep the plain form alive.

// CHECK:       ml_program.global private @w(#moe.bank_recipe<[#moe.panels<
// CHECK-LABEL: func.func @unused_load
// CHECK:         ml_program.global_load_const @w : !moe.bank<tensor<2x2x48x32xf32>>
// CHECK-NOT:     ml_program.global_load_const
// CHECK:         moe.grouped_matmul
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<2x64x48xf32>>]>) : !moe.bank<tensor<2x64x48xf32>>
func.func @unused_load(%x: tensor<?x48xf32>, %offsets: tensor<3xindex>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %unused = ml_program.global_load_const @w : !moe.bank<tensor<2x64x48xf32>>
  %w = ml_program.global_load_const @w : !moe.bank<tensor<2x64x48xf32>>
  %h = moe.grouped_matmul ins(%x : tensor<?x48xf32>) banks(%w : !moe.bank<tensor<2x64x48xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %h : tensor<?x64xf32>
}
