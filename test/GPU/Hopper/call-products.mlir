// moe-gpu-call-hopper-products: which products become calls, what is rounded, what is shared.
// RUN: moe-opt %s -moe-gpu-call-hopper-products -split-input-file -remarks-filter=moe-gpu-call-hopper-products 2> %t \
// RUN:   | FileCheck %s --implicit-check-not=@product_1x40x64_
// RUN: FileCheck %s --check-prefix=MISSED < %t

module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 100>} {
// Tests gate and up of gathered rows, then down: the rows are rounded once, the rows between the products are bf16 at
// once, and the last result stays f32. 200 rows at most: two slots for each of 100 tokens.
// CHECK-LABEL: func.func @experts(
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x64xf32>
// CHECK: %[[ROWS:.+]] = linalg.generic {{.*}} ins(%[[X]] : tensor<?x64xf32>) outs(%{{.+}} : tensor<?x64xbf16>)
// CHECK: arith.truncf %{{.+}} : f32 to bf16
// CHECK: %[[OFFSETS:.+]], %[[TOKENS:.+]], %{{.+}} = moe.plan
// CHECK: %[[COUNT:.+]] = arith.ceildivui
// CHECK: %[[REST:.+]] = arith.constant 9 : index
// CHECK: arith.addi %[[COUNT]], %[[REST]]
// CHECK: %[[MAP:.+]] = tensor.empty(%{{.+}}) : tensor<?xi8>
// CHECK: %[[BETWEEN:.+]] = tensor.empty(%{{.+}}) : tensor<?x96xbf16>
// CHECK: %[[H:.+]] = call @product_8x96x64(%[[ROWS]], %[[TOKENS]], %{{.+}}, %{{.+}}, %[[OFFSETS]], %[[MAP]], %[[BETWEEN]])
// CHECK-NOT: arith.truncf
// CHECK: %[[Y:.+]] = call @product_8x64x96(%[[H]], %{{.+}}, %[[OFFSETS]], %{{.+}}, %{{.+}}) : {{.*}} -> tensor<?x64xf32>
// CHECK: return %[[Y]]
func.func @experts(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>,
    %gate: !moe.bank<tensor<8x96x64xbf16>>, %up: !moe.bank<tensor<8x96x64xbf16>>,
    %down: !moe.bank<tensor<8x64x96xbf16>>, %n: index) -> tensor<?x64xf32> {
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  %wide = tensor.empty(%n) : tensor<?x96xf32>
  %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
    banks(%gate, %up : !moe.bank<tensor<8x96x64xbf16>>, !moe.bank<tensor<8x96x64xbf16>>)
    groups(%offsets : tensor<9xindex>) outs(%wide : tensor<?x96xf32>) -> tensor<?x96xf32> {
  ^bb0(%g: f32, %u: f32):
    %e = math.exp %g : f32
    %p = arith.mulf %e, %u : f32
    moe.yield %p : f32
  }
  %narrow = tensor.empty(%n) : tensor<?x64xf32>
  %y = moe.grouped_matmul ins(%h : tensor<?x96xf32>) banks(%down : !moe.bank<tensor<8x64x96xbf16>>)
    groups(%offsets : tensor<9xindex>) outs(%narrow : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Tests that equal products share a function, also across functions; and rows that two products read are rounded once.
// CHECK-LABEL: func.func @dense(
// CHECK: arith.truncf
// CHECK-NOT: arith.truncf
// CHECK: call @product_1x40x64(
// CHECK: call @product_1x40x64(
func.func @dense(%x: tensor<?x64xf32>, %a: !moe.bank<tensor<1x40x64xbf16>>, %b: !moe.bank<tensor<1x40x64xbf16>>,
    %offsets: tensor<2xindex>, %init: tensor<?x40xf32>) -> (tensor<?x40xf32>, tensor<?x40xf32>) {
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x40x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x40xf32>) -> tensor<?x40xf32>
  %z = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%b : !moe.bank<tensor<1x40x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %y, %z : tensor<?x40xf32>, tensor<?x40xf32>
}

// Tests that the number of rows stands for offsets and tile map where the offsets say that all rows are of one group, and
// the host knows how many; that others keep both.
// CHECK-LABEL: func.func @all_rows(
// CHECK: %[[ROWS:.+]] = linalg.generic
// CHECK: %[[N:.+]] = arith.subi
// CHECK: tensor.from_elements
// CHECK-NOT: tensor.empty
// CHECK: call @product_1x24x64(%[[ROWS]], %{{.+}}, %[[N]], %{{.+}})
// CHECK: call @product_1x24x64_0(%[[ROWS]], %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}})
func.func @all_rows(%x: tensor<?x64xf32>, %a: !moe.bank<tensor<1x24x64xbf16>>, %first: index, %sizes: tensor<1xindex>,
    %init: tensor<?x24xf32>) -> (tensor<?x24xf32>, tensor<?x24xf32>) {
  %c0 = arith.constant 0 : index
  %m = tensor.extract %sizes[%c0] : tensor<1xindex>
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %rest = arith.subi %n, %first : index
  %all = tensor.from_elements %c0, %rest : tensor<2xindex>
  %some = tensor.from_elements %c0, %m : tensor<2xindex>
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x24x64xbf16>>)
    groups(%all : tensor<2xindex>) outs(%init : tensor<?x24xf32>) -> tensor<?x24xf32>
  %z = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x24x64xbf16>>)
    groups(%some : tensor<2xindex>) outs(%init : tensor<?x24xf32>) -> tensor<?x24xf32>
  return %y, %z : tensor<?x24xf32>, tensor<?x24xf32>
}

// Tests that a product that decides which experts are chosen keeps f32, and what else is left alone.
// CHECK-LABEL: func.func @left(
// CHECK-NOT: call
// CHECK-COUNT-4: moe.grouped_matmul
// CHECK: return
// MISSED-DAG: not on tensor cores: rows rounded to f16, as banks are stored, could overflow
// MISSED-DAG: not on tensor cores: it decides which experts are chosen
// MISSED-DAG: not on tensor cores: K = 60 is no multiple of 8, and a bank, which does not come from a global with a recipe, cannot be padded
// MISSED-DAG: not on tensor cores: 'math.log' has no form in an epilogue on tensor cores
func.func @left(%x: tensor<?x64xf32>, %a: !moe.bank<tensor<1x8x64xbf16>>, %odd: tensor<?x60xf32>,
    %b: !moe.bank<tensor<1x8x60xbf16>>, %half: !moe.bank<tensor<1x8x64xf16>>, %offsets: tensor<2xindex>,
    %init: tensor<?x8xf32>) -> (!moe.routing<? x 8, slots = 2>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %scores = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x8x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %scores policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = moe.grouped_matmul ins(%odd : tensor<?x60xf32>) banks(%b : !moe.bank<tensor<1x8x60xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %z = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x8x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32):
    %l = math.log %p : f32
    moe.yield %l : f32
  }
  %f = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%half : !moe.bank<tensor<1x8x64xf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %routing, %y, %z, %f : !moe.routing<? x 8, slots = 2>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK: func.func private @epilogue(%{{.+}}: f32, %{{.+}}: f32) -> f32 attributes {moe.keep_math} {
// CHECK: func.func private @product_8x96x64(%{{.+}}: tensor<?x64xbf16> {bufferization.access = "read"}
// CHECK-SAME: tensor<?xi8> {bufferization.access = "write"}, %[[OUT:.+]]: tensor<?x96xbf16> {bufferization.access = "read-write"})
// CHECK-SAME: {hopper.grouped_matmul = {banks = 2 : i64, epilogue = @epilogue, gathered, max_rows = 200 : i64, vectors = 0 : i64}
// CHECK-NEXT: return %[[OUT]]
// CHECK: func.func private @product_1x40x64({{.*}} {hopper.grouped_matmul = {banks = 1 : i64, max_rows = 100 : i64, vectors = 0 : i64}}
// CHECK: func.func private @product_1x24x64({{.*}} {bufferization.access = "read"}, %{{[^:]+}}: index, %{{[^:]+}}: tensor<?x24xf32> {bufferization.access = "read-write"})
// CHECK-SAME: {hopper.grouped_matmul = {banks = 1 : i64, dense, max_rows = 100 : i64, vectors = 0 : i64}}
}

// -----

// Tests that other chips keep the general products.
// CHECK-LABEL: func.func @other_chip(
// CHECK: moe.grouped_matmul
module attributes {moe.device = #moe.gpu<"sm_90", maxTokens = 100>} {
func.func @other_chip(%x: tensor<?x64xf32>, %a: !moe.bank<tensor<1x8x64xbf16>>, %offsets: tensor<2xindex>,
    %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%a : !moe.bank<tensor<1x8x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
}
