// RUN: moe-opt %s --moe-group-dense --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that the global becomes a bank of one matrix and the product a grouped product of all rows.
// CHECK:         ml_program.global private @w(#moe.bank_recipe<[#moe.stack<[#moe.source<"w", tensor<96x64xbf16>>]>]>)
// CHECK-SAME:      : !moe.bank<tensor<1x96x64xbf16>>
// CHECK-LABEL: func.func @loaded_here(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>
// CHECK:         %[[TOKENS:.+]] = tensor.dim %[[X]], %{{.+}}
// CHECK:         %[[OFFSETS:.+]] = tensor.from_elements %{{.+}}, %[[TOKENS]] : tensor<2xindex>
// CHECK:         %[[W:.+]] = ml_program.global_load_const @w : !moe.bank<tensor<1x96x64xbf16>>
// CHECK:         %[[Y:.+]] = moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) banks(%[[W]] :
// CHECK-SAME:      groups(%[[OFFSETS]] : tensor<2xindex>)
// CHECK-NOT:     linalg
// CHECK:         return %[[Y]]
ml_program.global private @w(#moe.source<"w", tensor<96x64xbf16>>) : tensor<96x64xbf16>
func.func @loaded_here(%x: tensor<?x64xf32>, %tokens: index) -> tensor<?x96xf32> {
  %zero = arith.constant 0.0 : f32
  %w = ml_program.global_load_const @w : tensor<96x64xbf16>
  %empty = tensor.empty(%tokens) : tensor<?x96xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x96xf32>) -> tensor<?x96xf32>
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%x, %w : tensor<?x64xf32>, tensor<96x64xbf16>)
         outs(%zeros : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that a weight is followed through two calls, that the layers share one function, that the weight may be widened
// by an operation of its own and the product be in generic form, and that products of the same rows share their offsets.
// CHECK-DAG:     ml_program.global private @a(#moe.bank_recipe<{{.+}}>) : !moe.bank<tensor<1x64x64xf16>>
// CHECK-DAG:     ml_program.global private @b(#moe.bank_recipe<{{.+}}>) : !moe.bank<tensor<1x64x64xf16>>
ml_program.global private @a(#moe.source<"a", tensor<64x64xf16>>) : tensor<64x64xf16>
ml_program.global private @b(#moe.source<"b", tensor<64x64xf16>>) : tensor<64x64xf16>
// CHECK-LABEL: func.func private @inner(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<4x64xf32>, %[[W:[^:]+]]: !moe.bank<tensor<1x64x64xf16>>
// CHECK:         %[[OFFSETS:.+]] = tensor.from_elements
// CHECK-NOT:     arith.extf
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<4x64xf32>) banks(%[[W]] :
// CHECK-SAME:      groups(%[[OFFSETS]] :
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<4x64xf32>) banks(%[[W]] :
// CHECK-SAME:      groups(%[[OFFSETS]] :
func.func private @inner(%x: tensor<4x64xf32>, %w: tensor<64x64xf16>, %bias: tensor<64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %wide_init = tensor.empty() : tensor<64x64xf32>
  %wide = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%w : tensor<64x64xf16>) outs(%wide_init : tensor<64x64xf32>) {
  ^bb0(%a: f16, %o: f32):
    %e = arith.extf %a : f16 to f32
    linalg.yield %e : f32
  } -> tensor<64x64xf32>
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %y = linalg.generic {indexing_maps = [#xk, #wk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%x, %wide : tensor<4x64xf32>, tensor<64x64xf32>) outs(%zeros : tensor<4x64xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %p = arith.mulf %b, %a : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<4x64xf32>
  %z = linalg.generic {indexing_maps = [#xk, #wk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%x, %w : tensor<4x64xf32>, tensor<64x64xf16>) outs(%zeros : tensor<4x64xf32>) {
  ^bb0(%a: f32, %b: f16, %o: f32):
    %e = arith.extf %b : f16 to f32
    %s = math.fma %a, %e, %o : f32
    linalg.yield %s : f32
  } -> tensor<4x64xf32>
  return %y, %z : tensor<4x64xf32>, tensor<4x64xf32>
}
// CHECK-LABEL: func.func private @layer(
// CHECK-SAME:    %{{[^:]+}}: tensor<4x64xf32>, %[[W:[^:]+]]: !moe.bank<tensor<1x64x64xf16>>, %[[BIAS:[^:]+]]: tensor<64xf32>
// CHECK:         call @inner(%{{.+}}, %[[W]], %[[BIAS]])
func.func private @layer(%x: tensor<4x64xf32>, %w: tensor<64x64xf16>, %bias: tensor<64xf32>) -> tensor<4x64xf32> {
  %y:2 = call @inner(%x, %w, %bias) : (tensor<4x64xf32>, tensor<64x64xf16>, tensor<64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return %y#0 : tensor<4x64xf32>
}
// CHECK-LABEL: func.func @forward(
// CHECK:         %[[A:.+]] = ml_program.global_load_const @a : !moe.bank<tensor<1x64x64xf16>>
// CHECK:         call @layer(%{{.+}}, %[[A]],
// CHECK:         %[[B:.+]] = ml_program.global_load_const @b : !moe.bank<tensor<1x64x64xf16>>
// CHECK:         call @layer(%{{.+}}, %[[B]],
func.func @forward(%x: tensor<4x64xf32>, %bias: tensor<64xf32>) -> tensor<4x64xf32> {
  %a = ml_program.global_load_const @a : tensor<64x64xf16>
  %y = call @layer(%x, %a, %bias) : (tensor<4x64xf32>, tensor<64x64xf16>, tensor<64xf32>) -> tensor<4x64xf32>
  %b = ml_program.global_load_const @b : tensor<64x64xf16>
  %z = call @layer(%y, %b, %bias) : (tensor<4x64xf32>, tensor<64x64xf16>, tensor<64xf32>) -> tensor<4x64xf32>
  return %z : tensor<4x64xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that an embedding that is the output head too keeps its tensor and gets a bank beside it.
// CHECK:         ml_program.global private @embedding(#moe.source<"embedding", tensor<96x64xf32>>) : tensor<96x64xf32>
// CHECK:         ml_program.global private @embedding_bank(#moe.bank_recipe<[#moe.stack<[#moe.source<"embedding", tensor<96x64xf32>>]>]>)
// CHECK-SAME:      : !moe.bank<tensor<1x96x64xf32>>
// CHECK-LABEL: func.func @tied(
// CHECK-DAG:     %[[TENSOR:.+]] = ml_program.global_load_const @embedding : tensor<96x64xf32>
// CHECK-DAG:     %[[BANK:.+]] = ml_program.global_load_const @embedding_bank : !moe.bank<tensor<1x96x64xf32>>
// CHECK:         %[[X:.+]] = moe.gather ins(%[[TENSOR]] :
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) banks(%[[BANK]] :
ml_program.global private @embedding(#moe.source<"embedding", tensor<96x64xf32>>) : tensor<96x64xf32>
func.func @tied(%ids: tensor<?xi32>, %rows: tensor<?x64xf32>, %empty: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %zero = arith.constant 0.0 : f32
  %w = ml_program.global_load_const @embedding : tensor<96x64xf32>
  %x = moe.gather ins(%w : tensor<96x64xf32>) at(%ids : tensor<?xi32>) outs(%rows : tensor<?x64xf32>) -> tensor<?x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x96xf32>) -> tensor<?x96xf32>
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%x, %w : tensor<?x64xf32>, tensor<96x64xf32>)
         outs(%zeros : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that a product that starts from something is left alone, and its global with it.
// CHECK:         ml_program.global private @w(#moe.source<"w", tensor<96x64xf32>>) : tensor<96x64xf32>
// CHECK-LABEL: func.func @adds_to_something(
// CHECK:         linalg.matmul
ml_program.global private @w(#moe.source<"w", tensor<96x64xf32>>) : tensor<96x64xf32>
func.func @adds_to_something(%x: tensor<?x64xf32>, %start: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %w = ml_program.global_load_const @w : tensor<96x64xf32>
  // expected-remark @below {{the product is added to something else than zeros}}
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%x, %w : tensor<?x64xf32>, tensor<96x64xf32>)
         outs(%start : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that the argument of a function that others can call keeps its type.
// CHECK-LABEL: func.func @public(
// CHECK-SAME:    tensor<96x64xf32>
// CHECK:         linalg.matmul
func.func @public(%x: tensor<4x64xf32>, %w: tensor<96x64xf32>) -> tensor<4x96xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x96xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{the weight does not come from a global with a recipe alone}}
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%x, %w : tensor<4x64xf32>, tensor<96x64xf32>)
         outs(%zeros : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %y : tensor<4x96xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that one call that passes something else keeps the function, and the other caller's global, as they are.
// CHECK:         ml_program.global private @w(#moe.source<"w", tensor<96x64xf32>>) : tensor<96x64xf32>
// CHECK-LABEL: func.func private @layer(
// CHECK-SAME:    tensor<96x64xf32>
// CHECK:         linalg.matmul
// CHECK-LABEL: func.func @forward(
// CHECK:         ml_program.global_load_const @w : tensor<96x64xf32>
ml_program.global private @w(#moe.source<"w", tensor<96x64xf32>>) : tensor<96x64xf32>
func.func private @layer(%x: tensor<4x64xf32>, %w: tensor<96x64xf32>) -> tensor<4x96xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x96xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{the weight does not come from a global with a recipe alone}}
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%x, %w : tensor<4x64xf32>, tensor<96x64xf32>)
         outs(%zeros : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %y : tensor<4x96xf32>
}
func.func @forward(%x: tensor<4x64xf32>, %given: tensor<96x64xf32>) -> (tensor<4x96xf32>, tensor<4x96xf32>) {
  %w = ml_program.global_load_const @w : tensor<96x64xf32>
  %y = call @layer(%x, %w) : (tensor<4x64xf32>, tensor<96x64xf32>) -> tensor<4x96xf32>
  %z = call @layer(%x, %given) : (tensor<4x64xf32>, tensor<96x64xf32>) -> tensor<4x96xf32>
  return %y, %z : tensor<4x96xf32>, tensor<4x96xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that a weight which is the rows of another product stays a tensor for it.
// CHECK:         ml_program.global private @w(#moe.source<"w", tensor<64x64xf32>>) : tensor<64x64xf32>
// CHECK:         ml_program.global private @w_bank(
// CHECK-LABEL: func.func @rows(
// CHECK-DAG:     %[[TENSOR:.+]] = ml_program.global_load_const @w : tensor<64x64xf32>
// CHECK-DAG:     %[[BANK:.+]] = ml_program.global_load_const @w_bank : !moe.bank<tensor<1x64x64xf32>>
// CHECK:         moe.grouped_matmul ins(%[[TENSOR]] : tensor<64x64xf32>) banks(%[[BANK]] :
ml_program.global private @w(#moe.source<"w", tensor<64x64xf32>>) : tensor<64x64xf32>
func.func @rows() -> tensor<64x64xf32> {
  %zero = arith.constant 0.0 : f32
  %w = ml_program.global_load_const @w : tensor<64x64xf32>
  %empty = tensor.empty() : tensor<64x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<64x64xf32>) -> tensor<64x64xf32>
  %y = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%w, %w : tensor<64x64xf32>, tensor<64x64xf32>)
         outs(%zeros : tensor<64x64xf32>) -> tensor<64x64xf32>
  return %y : tensor<64x64xf32>
}
