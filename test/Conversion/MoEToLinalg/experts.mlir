// moe.experts: plan, gather, a loop over experts around the body, combine; and nothing is copied in the end.
// RUN: moe-opt %s --convert-moe-to-linalg --cse | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-linalg --eliminate-empty-tensors \
// RUN:   --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" \
// RUN:   --cse --canonicalize | FileCheck %s --check-prefix=BUFFERS

// CHECK-LABEL: @one_class
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x4xf32>, %{{[^:]+}}: tensor<?x2xi32>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>, %[[BANK:[^:]+]]: tensor<3x4xf32>
// BUFFERS-LABEL: @one_class
// BUFFERS-NOT: memref.copy
// BUFFERS: return
func.func @one_class(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 3, slots = 2>, %bank: !moe.bank<tensor<3x4xf32>>)
    -> tensor<?x4xf32> {
  // CHECK: %[[OFFSETS:[^ :]+]]:2 = scf.for
  // CHECK: %[[PLACED:[^ :]+]]:3 = scf.for
  // CHECK: %[[GATHERED:[^ :]+]] = scf.for
  // CHECK: tensor.extract_slice %[[X]]

  // CHECK: %[[OUTPUTS:[^ :]+]] = scf.for %[[EXPERT:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args(%[[ROWS_OUT:.+]] = %{{.+}})
  // CHECK: %[[BEGIN:.+]] = tensor.extract %[[OFFSETS]]#0[%[[EXPERT]]]
  // CHECK: %[[BETWEEN:.+]] = arith.subi %{{.+}}, %[[BEGIN]]
  // CHECK: %[[COUNT:.+]] = arith.minsi %[[BETWEEN]],
  // CHECK: %[[BUSY:.+]] = arith.cmpi sgt, %[[COUNT]]
  // CHECK: scf.if %[[BUSY]]
  // CHECK: %[[ROWS:.+]] = tensor.extract_slice %[[GATHERED]][%[[BEGIN]], 0] [%[[COUNT]], 4] [1, 1]
  // CHECK: %[[OWN:.+]] = tensor.extract_slice %[[BANK]][%[[EXPERT]], 0] [1, 4] [1, 1] : tensor<3x4xf32> to tensor<4xf32>
  // CHECK: %[[RESULT:.+]] = linalg.generic {{.+}} ins(%[[ROWS]], %[[OWN]] : tensor<?x4xf32>, tensor<4xf32>)
  // CHECK-NOT: tensor.extract_slice
  // CHECK: tensor.insert_slice %[[RESULT]] into %[[ROWS_OUT]][%[[BEGIN]], 0] [%[[COUNT]], 4] [1, 1]

  // CHECK: linalg.fill
  // CHECK: %[[Y:[^ :]+]] = scf.for
  // CHECK: tensor.extract %[[PLACED]]#2
  // CHECK: tensor.extract %[[WEIGHTS]]
  // CHECK: tensor.extract_slice %[[OUTPUTS]]
  // CHECK: return %[[Y]]
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 2>)
    banks(%bank : !moe.bank<tensor<3x4xf32>>) combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %own: tensor<4xf32>):
    %c0 = arith.constant 0 : index
    %n = tensor.dim %rows, %c0 : tensor<?x4xf32>
    %e = tensor.empty(%n) : tensor<?x4xf32>
    %r = linalg.generic {
      indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]
    } ins(%rows, %own : tensor<?x4xf32>, tensor<4xf32>) outs(%e : tensor<?x4xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %p = arith.mulf %a, %b : f32
      linalg.yield %p : f32
    } -> tensor<?x4xf32>
    moe.yield %r : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// Tests that the class of an expert is looked up, that each class is one case, and that states are carried; a shared
// routing comes in parts.
// CHECK-LABEL: @classes_and_state
// CHECK-SAME: %[[STATE:[^:]+]]: tensor<3x4xf32>
// CHECK: %[[CLASSES:.+]] = arith.constant dense<[0, 1, 0]> : tensor<3xi32>
// CHECK: %[[LOOP:[^ :]+]]:2 = scf.for %[[EXPERT:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args(%{{.+}} = %{{.+}}, %[[OLD:.+]] = %[[STATE]])
// CHECK: %[[CLASS:.+]] = tensor.extract %[[CLASSES]][%[[EXPERT]]]
// CHECK: %[[CASE:.+]] = arith.index_cast %[[CLASS]]
// CHECK: scf.index_switch %[[CASE]]
// CHECK: case 0 {
// CHECK: %[[SLICE:.+]] = tensor.extract_slice %[[OLD]][%[[EXPERT]], 0] [1, 4] [1, 1] : tensor<3x4xf32> to tensor<4xf32>
// CHECK: %[[NEW:.+]] = linalg.exp ins(%[[SLICE]]
// CHECK: tensor.insert_slice %[[NEW]] into %[[OLD]][%[[EXPERT]], 0] [1, 4] [1, 1]
// CHECK: default {
// CHECK: return %{{.+}}, %[[LOOP]]#1
func.func @classes_and_state(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 3, slots = 2>, %state: tensor<3x4xf32>)
    -> (tensor<?x4xf32>, tensor<3x4xf32>) {
  %y, %new = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 2>)
    shared(%routing : !moe.routing<? x 3, slots = 2>) state(%state : tensor<3x4xf32>) combine(#moe.sum)
    classes([0, 1, 0]) -> tensor<?x4xf32>, tensor<3x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %shared: !moe.routing<? x 3, slots = 2>, %own: tensor<4xf32>):
    %e = linalg.exp ins(%own : tensor<4xf32>) outs(%own : tensor<4xf32>) -> tensor<4xf32>
    moe.yield %rows, %e : tensor<?x4xf32>, tensor<4xf32>
  }, {
  ^bb0(%rows: tensor<?x4xf32>, %shared: !moe.routing<? x 3, slots = 2>, %own: tensor<4xf32>):
    moe.yield %rows, %own : tensor<?x4xf32>, tensor<4xf32>
  }
  return %y, %new : tensor<?x4xf32>, tensor<3x4xf32>
}

// Tests that operations of the dialect inside a body go too: experts of experts.
// CHECK-LABEL: @nested
// CHECK-NOT: moe.
// CHECK: return
func.func @nested(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 3, slots = 1>) -> tensor<?x4xf32> {
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 1>)
    combine(#moe.sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    %inner = moe.select %rows policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.keep)
      : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 1>
    %z = moe.experts rows(%rows : tensor<?x4xf32>) routed_by(%inner : !moe.routing<? x 4, slots = 1>)
      combine(#moe.weighted_sum) -> tensor<?x4xf32> {
    ^bb0(%deep: tensor<?x4xf32>):
      moe.yield %deep : tensor<?x4xf32>
    }
    moe.yield %z : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}

// Tests that no more rows are taken than the expert has, from a body that may give another number.
// CHECK-LABEL: @other_rows
// CHECK: arith.cmpi sgt, %[[COUNT:[^,]+]], %
// CHECK-NEXT: scf.if
// CHECK: %[[RESULT:.+]] = linalg.fill {{.+}} -> tensor<?x4xf32>
// CHECK: %[[SAFE:.+]] = arith.minsi %{{.+}}, %[[COUNT]]
// CHECK: %[[PART:.+]] = tensor.extract_slice %[[RESULT]][0, 0] [%[[SAFE]], 4] [1, 1]
// CHECK: tensor.insert_slice %[[PART]] into %{{.+}} [%[[SAFE]], 4] [1, 1]
func.func @other_rows(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 3, slots = 1>, %n: index) -> tensor<?x4xf32> {
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 1>)
    shared(%n : index) combine(#moe.sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %m: index):
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty(%m) : tensor<?x4xf32>
    %r = linalg.fill ins(%zero : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
    moe.yield %r : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}
