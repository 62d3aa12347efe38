// RUN: moe-opt %s --convert-moe-to-kernels --split-input-file | FileCheck %s

// Tests that an element of a product finds its group by bisection and sums in one chain.
// CHECK-LABEL: func.func @product(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[W:[^:]+]]: tensor<8x96x64xf32>, %[[OFFSETS:[^:]+]]: tensor<9xindex>
// CHECK:         linalg.generic {{.+}}iterator_types = ["parallel", "parallel"]
// CHECK:           %[[ROW:.+]] = linalg.index 0
// CHECK:           %[[COLUMN:.+]] = linalg.index 1
// CHECK:           %[[ROUNDS:.+]] = arith.constant 4 : index
// CHECK:           %[[GROUP:.+]]:2 = scf.for {{.+}} to %[[ROUNDS]]
// CHECK:             tensor.extract %[[OFFSETS]]
// CHECK:           scf.if
// CHECK:             %[[SUM:.+]] = scf.for %[[K:.+]] = {{.+}} iter_args(%[[PART:.+]] = %{{.+}})
// CHECK:               %[[LEFT:.+]] = tensor.extract %[[X]][%[[ROW]], %[[K]]]
// CHECK:               %[[RIGHT:.+]] = tensor.extract %[[W]][%[[GROUP]]#0, %[[COLUMN]], %[[K]]]
// CHECK:               %[[NEXT:.+]] = math.fma %[[LEFT]], %[[RIGHT]], %[[PART]]
// CHECK:               scf.yield %[[NEXT]]
// CHECK:             scf.yield %[[SUM]]
func.func @product(%x: tensor<?x64xf32>, %w: tensor<8x96x64xf32>, %offsets: tensor<9xindex>, %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %bank = moe.make_bank %w : tensor<8x96x64xf32> -> !moe.bank<tensor<8x96x64xf32>>
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%bank : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// Tests that a product of all rows reads no offsets.
// CHECK-LABEL: func.func @dense(
// CHECK-SAME:    %{{[^:]+}}: tensor<?x64xf32>, %{{[^:]+}}: tensor<1x96x64xf32>, %[[COUNT:[^:]+]]: index
// CHECK:         linalg.generic
// CHECK:           %[[ROW:.+]] = linalg.index 0
// CHECK:           arith.cmpi slt, %[[ROW]], %[[COUNT]]
// CHECK-NOT:       tensor<2xindex>
// CHECK:           scf.if
// CHECK:         return
func.func @dense(%x: tensor<?x64xf32>, %w: tensor<1x96x64xf32>, %count: index, %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
  %c0 = arith.constant 0 : index
  %offsets = tensor.from_elements %c0, %count : tensor<2xindex>
  %bank = moe.make_bank %w : tensor<1x96x64xf32> -> !moe.bank<tensor<1x96x64xf32>>
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%bank : !moe.bank<tensor<1x96x64xf32>>)
         groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}

// -----

// Tests that a plan becomes the call of a function that stands for it and gives back what it is handed for the results.
// CHECK-LABEL: func.func @plan(
// CHECK-SAME:    %[[IDS:[^:]+]]: tensor<?x2xi32>
// CHECK-DAG:     %[[OFFSETS:.+]] = tensor.empty() : tensor<9xindex>
// CHECK-DAG:     %[[TOKENS:.+]] = tensor.empty(%{{.+}}) : tensor<?xindex>
// CHECK-DAG:     %[[SLOTS:.+]] = tensor.empty(%{{.+}}) : tensor<?x2xindex>
// CHECK:         %[[PLAN:.+]]:3 = call @plan_1(%[[IDS]], %[[OFFSETS]], %[[TOKENS]], %[[SLOTS]])
// CHECK:         return %[[PLAN]]#0, %[[PLAN]]#1, %[[PLAN]]#2
// CHECK:       func.func private @plan_1(
// CHECK-SAME:    tensor<?x2xi32> {bufferization.access = "read"}, %[[A:[^:]+]]: tensor<9xindex> {bufferization.access = "write"}
// CHECK-SAME:    %[[B:[^:]+]]: tensor<?xindex> {bufferization.access = "write"}, %[[C:[^:]+]]: tensor<?x2xindex> {bufferization.access = "write"}
// CHECK-SAME:    attributes {launch.plan}
// CHECK-NEXT:    return %[[A]], %[[B]], %[[C]]
func.func @plan(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> (tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>) {
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  return %offsets, %tokens, %slots : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
}

// -----

// Tests that a token takes up its rows in a chain over slots, element by element.
// CHECK-LABEL: func.func @combine(
// CHECK-SAME:    %[[ROWS:[^:]+]]: tensor<?x64xf32>
// CHECK:         linalg.generic {{.+}}iterator_types = ["parallel", "parallel"]
// CHECK:         ^bb0(%[[START:.+]]: f32):
// CHECK:           scf.for %{{.+}} iter_args(%{{.+}} = %[[START]])
// CHECK:             scf.if
// CHECK:               tensor.extract %[[ROWS]]
func.func @combine(%rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
