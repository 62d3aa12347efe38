// moe-gpu-call-hopper-products: banks whose rows are no multiple of 16 bytes long get zeros at their ends.
// RUN: moe-opt %s -moe-gpu-call-hopper-products -split-input-file | FileCheck %s

module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 100>} {
// Tests gate and up of K = 36, then down of K = 20: recipes are padded, rows of 36 are rounded into rows 40 apart, and
// the rows between the products lie 24 apart. The functions know K.
// CHECK: ml_program.global private @gate(#moe.bank_recipe<[#moe.pad<#moe.source<"gate", tensor<4x20x36xbf16>>, size = 40>]>) : !moe.bank<tensor<4x20x40xbf16>>
// CHECK: ml_program.global private @down(#moe.bank_recipe<[#moe.pad<#moe.source<"down", tensor<4x36x20xbf16>>, size = 24>]>) : !moe.bank<tensor<4x36x24xbf16>>
ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<4x20x36xbf16>>]>) : !moe.bank<tensor<4x20x36xbf16>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x36x20xbf16>>]>) : !moe.bank<tensor<4x36x20xbf16>>

// CHECK-LABEL: func.func @experts(
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x36xf32>
// CHECK: %[[ALL:.+]] = tensor.empty(%{{.+}}) : tensor<?x40xbf16>
// CHECK: %[[PART:.+]] = tensor.extract_slice %[[ALL]][0, 0] [%[[N:.+]], 36] [1, 1]
// CHECK: %[[ROUNDED:.+]] = linalg.generic {{.*}} ins(%[[X]] : tensor<?x36xf32>) outs(%[[PART]] : tensor<?x36xbf16>)
// CHECK: %[[ROWS:.+]] = tensor.insert_slice %[[ROUNDED]] into %[[ALL]][0, 0] [%[[N]], 36] [1, 1]
// CHECK: %[[GATE:.+]] = ml_program.global_load_const @gate : !moe.bank<tensor<4x20x40xbf16>>
// CHECK: %[[BETWEEN:.+]] = tensor.empty(%{{.+}}) : tensor<?x24xbf16>
// CHECK: %[[H:.+]] = call @product_4x20x36(%[[ROWS]], %{{.+}}, %[[GATE]], %{{.+}}, %{{.+}}, %[[BETWEEN]])
// CHECK-NOT: linalg.generic
// CHECK: %[[Y:.+]] = call @product_4x36x20(%[[H]], %{{.+}}) : {{.*}} -> tensor<?x36xf32>
// CHECK: return %[[Y]]
func.func @experts(%x: tensor<?x36xf32>, %routing: !moe.routing<? x 4, slots = 2>, %n: index) -> tensor<?x36xf32> {
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<4x20x36xbf16>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x36x20xbf16>>
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x 4, slots = 2> -> tensor<5xindex>, tensor<?xindex>, tensor<?x2xindex>
  %wide = tensor.empty(%n) : tensor<?x20xf32>
  %h = moe.grouped_matmul ins(%x : tensor<?x36xf32>) at(%tokens : tensor<?xindex>) banks(%gate : !moe.bank<tensor<4x20x36xbf16>>)
    groups(%offsets : tensor<5xindex>) outs(%wide : tensor<?x20xf32>) -> tensor<?x20xf32>
  %narrow = tensor.empty(%n) : tensor<?x36xf32>
  %y = moe.grouped_matmul ins(%h : tensor<?x20xf32>) banks(%down : !moe.bank<tensor<4x36x20xbf16>>)
    groups(%offsets : tensor<5xindex>) outs(%narrow : tensor<?x36xf32>) -> tensor<?x36xf32>
  return %y : tensor<?x36xf32>
}
// CHECK: func.func private @product_4x20x36({{.*}} {hopper.grouped_matmul = {banks = 1 : i64, gathered, k = 36 : i64, max_rows = 200 : i64, vectors = 0 : i64}}
// CHECK: func.func private @product_4x36x20({{.*}} {hopper.grouped_matmul = {banks = 1 : i64, k = 20 : i64, max_rows = 200 : i64, vectors = 0 : i64}}
}

// -----

// Tests that a bank which is read otherwise as well stays, beside a padded one; that padding passes through the
// arguments of private functions.
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 100>} {
// CHECK: ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<1x8x12xbf16>>]>) : !moe.bank<tensor<1x8x12xbf16>>
// CHECK: ml_program.global private @w_padded(#moe.bank_recipe<[#moe.pad<#moe.source<"w", tensor<1x8x12xbf16>>, size = 16>]>) : !moe.bank<tensor<1x8x16xbf16>>
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<1x8x12xbf16>>]>) : !moe.bank<tensor<1x8x12xbf16>>

// CHECK-LABEL: func.func @caller(
// CHECK-DAG: %[[AS_IT_WAS:.+]] = ml_program.global_load_const @w :
// CHECK-DAG: %[[PADDED:.+]] = ml_program.global_load_const @w_padded :
// CHECK: call @callee(%{{.+}}, %[[PADDED]], %{{.+}}, %{{.+}})
// CHECK: moe.grouped_matmul {{.*}} banks(%[[AS_IT_WAS]] : !moe.bank<tensor<1x8x12xbf16>>)
func.func @caller(%x: tensor<?x12xf32>, %offsets: tensor<2xindex>, %init: tensor<?x8xf32>)
    -> (tensor<?x8xf32>, !moe.routing<? x 8, slots = 2>) {
  %w = ml_program.global_load_const @w : !moe.bank<tensor<1x8x12xbf16>>
  %y = call @callee(%x, %w, %offsets, %init) : (tensor<?x12xf32>, !moe.bank<tensor<1x8x12xbf16>>, tensor<2xindex>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %scores = moe.grouped_matmul ins(%x : tensor<?x12xf32>) banks(%w : !moe.bank<tensor<1x8x12xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %scores policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %y, %routing : tensor<?x8xf32>, !moe.routing<? x 8, slots = 2>
}
// CHECK: func.func private @callee(%{{.+}}: tensor<?x12xf32>, %[[BANK:.+]]: !moe.bank<tensor<1x8x16xbf16>>,
// CHECK: call @product_1x8x12(%{{.+}}, %[[BANK]], %{{.+}}, %{{.+}}, %{{.+}})
func.func private @callee(%x: tensor<?x12xf32>, %w: !moe.bank<tensor<1x8x12xbf16>>, %offsets: tensor<2xindex>,
    %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moe.grouped_matmul ins(%x : tensor<?x12xf32>) banks(%w : !moe.bank<tensor<1x8x12xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
}
