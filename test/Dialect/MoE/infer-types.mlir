// Result types follow from operands: a wrong type is an error, and results know their dynamic extents.
// RUN: moe-opt %s -split-input-file -verify-diagnostics --resolve-ranked-shaped-type-result-dims --canonicalize | FileCheck %s

// Tests that each dynamic extent of a plan comes from the tokens of its routing.
// CHECK-LABEL: @plan_extents
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x3xi32>
func.func @plan_extents(%ids: tensor<?x3xi32>, %weights: tensor<?x3xf32>) -> (index, index) {
  %c0 = arith.constant 0 : index
  %routing = moe.make_routing %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32> -> !moe.routing<? x 8, slots = 3>
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<? x 8, slots = 3> -> tensor<9xindex>, tensor<?xindex>, tensor<?x3xindex>
  // CHECK: %[[TOKENS:.+]] = tensor.dim %[[IDS]], %{{.+}}
  // CHECK: %[[ROWS:.+]] = arith.muli %[[TOKENS]], %{{.+}}
  %rows = tensor.dim %tokens, %c0 : tensor<?xindex>
  %count = tensor.dim %slots, %c0 : tensor<?x3xindex>
  // CHECK: return %[[ROWS]], %[[TOKENS]]
  return %rows, %count : index, index
}

// -----

// Tests that operations in destination style have the extents of their init.
// CHECK-LABEL: @init_extents
// CHECK-SAME: %[[N:[^:]+]]: index
func.func @init_extents(%n: index, %x: tensor<?x4xf32>, %at: tensor<?xindex>, %w: !moe.bank<tensor<2x6x4xf32>>,
                        %offsets: tensor<3xindex>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>)
    -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %init = tensor.empty(%n) : tensor<?x4xf32>
  %wide = tensor.empty(%n) : tensor<?x6xf32>
  %g = moe.gather ins(%x : tensor<?x4xf32>) at(%at : tensor<?xindex>) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  %m = moe.grouped_matmul ins(%x : tensor<?x4xf32>) at(%at : tensor<?xindex>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%wide : tensor<?x6xf32>) -> tensor<?x6xf32>
  %c = moe.combine ins(%x : tensor<?x4xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
    kind(#moe.sum) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  %d = tensor.dim %g, %c0 : tensor<?x4xf32>
  %e = tensor.dim %m, %c0 : tensor<?x6xf32>
  %f = tensor.dim %c, %c0 : tensor<?x4xf32>
  // CHECK: return %[[N]], %[[N]], %[[N]]
  return %d, %e, %f : index, index, index
}

// -----

func.func @select_result(%logits: tensor<4x8xf32>) {
  // expected-error @+2 {{inferred type(s) '!moe.routing<4 x 8, slots = 2>' are incompatible with return type(s) of operation '!moe.routing<? x 8, slots = 2>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<4x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @routing_parts_result(%routing: !moe.routing<4 x 8, slots = 2>) {
  // expected-error @+2 {{are incompatible with return type(s) of operation}}
  // expected-error @+1 {{failed to infer returned types}}
  %ids, %weights = moe.routing_parts %routing : !moe.routing<4 x 8, slots = 2> -> tensor<4x3xi32>, tensor<4x2xf32>
  return
}

// -----

func.func @plan_result(%routing: !moe.routing<4 x 8, slots = 2>) {
  // expected-error @+2 {{inferred type(s) 'tensor<9xindex>', 'tensor<8xindex>', 'tensor<4x2xindex>' are incompatible}}
  // expected-error @+1 {{failed to infer returned types}}
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<4 x 8, slots = 2> -> tensor<8xindex>, tensor<8xindex>, tensor<4x2xindex>
  return
}

// -----

func.func @bank_parts_result(%bank: !moe.bank<tensor<8x4xi8>, tensor<8xf16>>) {
  // expected-error @+2 {{are incompatible with return type(s) of operation}}
  // expected-error @+1 {{failed to infer returned types}}
  %data = moe.bank_parts %bank : !moe.bank<tensor<8x4xi8>, tensor<8xf16>> -> tensor<8x4xi8>
  return
}

// -----

func.func @make_bank_result(%data: tensor<8x4xi8>) {
  // expected-error @+2 {{are incompatible with return type(s) of operation}}
  // expected-error @+1 {{failed to infer returned types}}
  %bank = moe.make_bank %data : tensor<8x4xi8> -> !moe.bank<tensor<8x5xi8>>
  return
}
