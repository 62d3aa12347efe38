// Routings and banks fall into their parts wherever values go: signatures, calls, branches, loops, globals.
// RUN: moe-opt %s --convert-moe-to-linalg -split-input-file | FileCheck %s

// CHECK-LABEL: @control_flow
// CHECK-SAME: %[[A:[^:]+]]: tensor<?x2xi32>, %[[A_WEIGHTS:[^:]+]]: tensor<?x2xf32>, %[[B:[^:]+]]: tensor<?x2xi32>, %[[B_WEIGHTS:[^:]+]]: tensor<?x2xf32>
func.func @control_flow(%a: !moe.routing<? x 8, slots = 2>, %b: !moe.routing<? x 8, slots = 2>, %which: i1,
                        %n: index) -> !moe.routing<? x 8, slots = 2> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: %[[CHOICE:.+]]:2 = scf.if
  // CHECK: scf.yield %[[A]], %[[A_WEIGHTS]]
  // CHECK: scf.yield %[[B]], %[[B_WEIGHTS]]
  %choice = scf.if %which -> !moe.routing<? x 8, slots = 2> {
    scf.yield %a : !moe.routing<? x 8, slots = 2>
  } else {
    scf.yield %b : !moe.routing<? x 8, slots = 2>
  }
  // CHECK: %[[LAST:.+]]:2 = scf.for {{.+}} iter_args(%[[IDS:.+]] = %[[CHOICE]]#0, %[[WEIGHTS:.+]] = %[[CHOICE]]#1)
  // CHECK: %[[CALL:.+]]:2 = func.call @control_flow(%[[IDS]], %[[WEIGHTS]], %[[B]], %[[B_WEIGHTS]]
  // CHECK: scf.yield %[[CALL]]#0, %[[CALL]]#1
  %last = scf.for %i = %c0 to %n step %c1 iter_args(%r = %choice) -> !moe.routing<? x 8, slots = 2> {
    %next = func.call @control_flow(%r, %b, %which, %i)
      : (!moe.routing<? x 8, slots = 2>, !moe.routing<? x 8, slots = 2>, i1, index) -> !moe.routing<? x 8, slots = 2>
    scf.yield %next : !moe.routing<? x 8, slots = 2>
  }
  // CHECK: return %[[LAST]]#0, %[[LAST]]#1
  return %last : !moe.routing<? x 8, slots = 2>
}

// -----

// Tests that each part of a named value has a name, and that the names of its neighbours stay with them.
// CHECK-LABEL: @names
// CHECK-SAME: tensor<?x2xi32> {moe.name = "routing.ids"}, %{{[^:]+}}: tensor<?x2xf32> {moe.name = "routing.weights"}
// CHECK-SAME: tensor<2x4xi8> {moe.name = "w"}, %{{[^:]+}}: tensor<2xf16> {moe.name = "w.1"}, %{{[^:]+}}: tensor<?x4xf32> {moe.name = "x"}
// CHECK-SAME: -> (tensor<?x2xi32> {moe.name = "out.ids"}, tensor<?x2xf32> {moe.name = "out.weights"}, tensor<?x4xf32> {moe.name = "y"})
func.func @names(%routing: !moe.routing<? x 8, slots = 2> {moe.name = "routing"},
                 %w: !moe.bank<tensor<2x4xi8>, tensor<2xf16>> {moe.name = "w"}, %x: tensor<?x4xf32> {moe.name = "x"})
    -> (!moe.routing<? x 8, slots = 2> {moe.name = "out"}, tensor<?x4xf32> {moe.name = "y"}) {
  return %routing, %x : !moe.routing<? x 8, slots = 2>, tensor<?x4xf32>
}

// -----

// Tests that a bank global becomes one global per component, each with its recipe.
// CHECK: ml_program.global private @w(#moe.source<"w", tensor<2x4xi8>>) : tensor<2x4xi8>
// CHECK: ml_program.global private @w.1(#moe.source<"w.scale", tensor<2xf16>>) : tensor<2xf16>
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<2x4xi8>>, #moe.source<"w.scale", tensor<2xf16>>]>)
  : !moe.bank<tensor<2x4xi8>, tensor<2xf16>>
// CHECK-LABEL: @global_bank
func.func @global_bank() -> tensor<2xf16> {
  // CHECK-DAG: ml_program.global_load_const @w : tensor<2x4xi8>
  // CHECK-DAG: %[[SCALES:.+]] = ml_program.global_load_const @w.1 : tensor<2xf16>
  %bank = ml_program.global_load_const @w : !moe.bank<tensor<2x4xi8>, tensor<2xf16>>
  %data, %scales = moe.bank_parts %bank : !moe.bank<tensor<2x4xi8>, tensor<2xf16>> -> tensor<2x4xi8>, tensor<2xf16>
  // CHECK: return %[[SCALES]]
  return %scales : tensor<2xf16>
}

// -----

// Tests that ids and weights that know more than the routing are cast to what it says.
// CHECK-LABEL: @make_routing_casts
// CHECK: tensor.cast %{{.+}} : tensor<4x2xi32> to tensor<?x2xi32>
// CHECK: tensor.cast %{{.+}} : tensor<?x?xf32> to tensor<?x2xf32>
func.func @make_routing_casts(%ids: tensor<4x2xi32>, %weights: tensor<?x?xf32>) -> !moe.routing<? x 8, slots = 2> {
  %routing = moe.make_routing %ids, %weights : tensor<4x2xi32>, tensor<?x?xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing : !moe.routing<? x 8, slots = 2>
}
