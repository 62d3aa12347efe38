// Folds: making a tuple and taking it apart cancel out, and where they must not.
// RUN: moe-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: @parts_of_made_routing
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
func.func @parts_of_made_routing(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  %i, %w = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK-NEXT: return %[[IDS]], %[[WEIGHTS]]
  return %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// The weights know more of their shape than the routing: their type would change.
// CHECK-LABEL: @parts_keep_their_type
func.func @parts_keep_their_type(%ids: tensor<?x2xi32>, %weights: tensor<4x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<4x2xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: %[[IDS:.+]], %[[WEIGHTS:.+]] = moe.routing_parts
  %i, %w = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: return %[[IDS]], %[[WEIGHTS]]
  return %i, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

// CHECK-LABEL: @routing_of_its_parts
// CHECK-SAME: %[[ROUTING:[^:]+]]: !moe.routing<? x 8, slots = 2>
func.func @routing_of_its_parts(%routing: !moe.routing<? x 8, slots = 2>) -> !moe.routing<? x 8, slots = 2> {
  %i, %w = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  %same = moe.make_routing %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK-NEXT: return %[[ROUTING]]
  return %same : !moe.routing<? x 8, slots = 2>
}

// Another scope is another routing.
// CHECK-LABEL: @routing_of_another_scope
func.func @routing_of_another_scope(%routing: !moe.routing<? x 8, slots = 2, scope = request>) -> !moe.routing<? x 8, slots = 2> {
  %i, %w = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2, scope = request> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: %[[OTHER:.+]] = moe.make_routing
  %other = moe.make_routing %i, %w : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: return %[[OTHER]]
  return %other : !moe.routing<? x 8, slots = 2>
}

// CHECK-LABEL: @routing_of_other_weights
// CHECK-SAME: %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
func.func @routing_of_other_weights(%weights: tensor<?x2xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> !moe.routing<? x 8, slots = 2> {
  // CHECK: %[[IDS:.+]], %{{.+}} = moe.routing_parts
  %i, %w = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: %[[OTHER:.+]] = moe.make_routing %[[IDS]], %[[WEIGHTS]]
  %other = moe.make_routing %i, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: return %[[OTHER]]
  return %other : !moe.routing<? x 8, slots = 2>
}

// CHECK-LABEL: @parts_of_made_bank
// CHECK-SAME: %[[DATA:[^:]+]]: tensor<8x4xi8>, %[[SCALES:[^:]+]]: tensor<8xf16>
func.func @parts_of_made_bank(%data: tensor<8x4xi8>, %scales: tensor<8xf16>) -> (tensor<8x4xi8>, tensor<8xf16>) {
  %bank = moe.make_bank %data, %scales : tensor<8x4xi8>, tensor<8xf16> -> !moe.bank<tensor<8x4xi8>, tensor<8xf16>>
  %d, %s = moe.bank_parts %bank : !moe.bank<tensor<8x4xi8>, tensor<8xf16>> -> tensor<8x4xi8>, tensor<8xf16>
  // CHECK-NEXT: return %[[DATA]], %[[SCALES]]
  return %d, %s : tensor<8x4xi8>, tensor<8xf16>
}

// CHECK-LABEL: @bank_of_its_parts
// CHECK-SAME: %[[BANK:[^:]+]]: !moe.bank<tensor<8x4xi8>, tensor<8xf16>>
func.func @bank_of_its_parts(%bank: !moe.bank<tensor<8x4xi8>, tensor<8xf16>>) -> !moe.bank<tensor<8x4xi8>, tensor<8xf16>> {
  %d, %s = moe.bank_parts %bank : !moe.bank<tensor<8x4xi8>, tensor<8xf16>> -> tensor<8x4xi8>, tensor<8xf16>
  %same = moe.make_bank %d, %s : tensor<8x4xi8>, tensor<8xf16> -> !moe.bank<tensor<8x4xi8>, tensor<8xf16>>
  // CHECK-NEXT: return %[[BANK]]
  return %same : !moe.bank<tensor<8x4xi8>, tensor<8xf16>>
}

// One component of two is not the bank.
// CHECK-LABEL: @bank_of_one_part
func.func @bank_of_one_part(%bank: !moe.bank<tensor<8x4xi8>, tensor<8xf16>>) -> !moe.bank<tensor<8x4xi8>> {
  %d, %s = moe.bank_parts %bank : !moe.bank<tensor<8x4xi8>, tensor<8xf16>> -> tensor<8x4xi8>, tensor<8xf16>
  // CHECK: %[[PART:.+]] = moe.make_bank
  %part = moe.make_bank %d : tensor<8x4xi8> -> !moe.bank<tensor<8x4xi8>>
  // CHECK: return %[[PART]]
  return %part : !moe.bank<tensor<8x4xi8>>
}

// A product without an epilogue, which is an empty region, reads what a cast was made of.
// CHECK-LABEL: @cast_rows
// CHECK-SAME: %[[X:[^:]+]]: tensor<8x4xf32>
func.func @cast_rows(%x: tensor<8x4xf32>, %offsets: tensor<3xindex>, %bank: !moe.bank<tensor<2x6x4xf32>>,
                     %init: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %rows = tensor.cast %x : tensor<8x4xf32> to tensor<?x4xf32>
  // CHECK-NEXT: %[[Y:.+]] = moe.grouped_matmul ins(%[[X]] : tensor<8x4xf32>) {{.+}} -> tensor<?x6xf32>
  // CHECK-NEXT: return %[[Y]]
  %y = moe.grouped_matmul ins(%rows : tensor<?x4xf32>) banks(%bank : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// The same for where the product goes, whose type is that of the result; an epilogue stays.
// CHECK-LABEL: @cast_init
// CHECK-SAME: %[[INIT:[^:]+]]: tensor<8x6xf32>
func.func @cast_init(%rows: tensor<?x4xf32>, %offsets: tensor<3xindex>, %bank: !moe.bank<tensor<2x6x4xf32>>,
                     %init: tensor<8x6xf32>) -> tensor<?x6xf32> {
  %cast = tensor.cast %init : tensor<8x6xf32> to tensor<?x6xf32>
  // CHECK-NEXT: %[[Y:.+]] = moe.grouped_matmul {{.+}} outs(%[[INIT]] : tensor<8x6xf32>) -> tensor<8x6xf32> {
  // CHECK-NEXT: ^bb0
  // CHECK-NEXT: arith.negf
  // CHECK: %[[WIDER:.+]] = tensor.cast %[[Y]] : tensor<8x6xf32> to tensor<?x6xf32>
  // CHECK-NEXT: return %[[WIDER]]
  %y = moe.grouped_matmul ins(%rows : tensor<?x4xf32>) banks(%bank : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%cast : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%p: f32):
    %n = arith.negf %p : f32
    moe.yield %n : f32
  }
  return %y : tensor<?x6xf32>
}
