// moe-parameters: places in the weights file, views instead of loads, the argument through calls.
// RUN: moe-opt %s --moe-parameters | FileCheck %s

// CHECK: module attributes {moe.weights_size = 4228 : i64}

// Tests that the first weight lies at 4096 and each at a multiple of 64, in the order of the module.
// CHECK: ml_program.global private @a(#moe.source<"a", tensor<3xbf16>>) : tensor<3xbf16> {moe.offset = 4096 : i64}
ml_program.global private @a(#moe.source<"a", tensor<3xbf16>>) : tensor<3xbf16>
// Tests that what nobody loads is erased.
// CHECK-NOT: @unused
ml_program.global private @unused(#moe.source<"u", tensor<1000xf32>>) : tensor<1000xf32>
// CHECK: ml_program.global private @empty(#moe.source<"e", tensor<0x4xf32>>) : tensor<0x4xf32> {moe.offset = 4160 : i64}
ml_program.global private @empty(#moe.source<"e", tensor<0x4xf32>>) : tensor<0x4xf32>
// CHECK: ml_program.global private @b(#moe.source<"b", tensor<2x8xf32>>) : tensor<2x8xf32> {moe.offset = 4160 : i64}
ml_program.global private @b(#moe.source<"b", tensor<2x8xf32>>) : tensor<2x8xf32>
// CHECK: ml_program.global private @c(#moe.source<"c", tensor<4xi8>>) : tensor<4xi8> {moe.offset = 4224 : i64}
ml_program.global private @c(#moe.source<"c", tensor<4xi8>>) : tensor<4xi8>

// CHECK-LABEL: func.func private @callee
// CHECK-SAME: (%[[FILE:[^:]+]]: memref<?xi8> {moe.name = "parameters", moe.role = "parameters"}, %{{[^:]+}}: index)
func.func private @callee(%i: index) -> (tensor<3xbf16>, tensor<2x8xf32>) {
  // CHECK: %[[PLACE:.+]] = arith.constant 4096 : index
  // CHECK: %[[VIEW:.+]] = memref.view %[[FILE]][%[[PLACE]]][] : memref<?xi8> to memref<3xbf16>
  // CHECK: %[[A:.+]] = bufferization.to_tensor %[[VIEW]] restrict : memref<3xbf16> to tensor<3xbf16>
  %a = ml_program.global_load_const @a : tensor<3xbf16>
  // CHECK: %[[B:.+]] = bufferization.to_tensor %{{.+}} restrict : memref<2x8xf32> to tensor<2x8xf32>
  %b = ml_program.global_load_const @b : tensor<2x8xf32>
  // CHECK: return %[[A]], %[[B]]
  return %a, %b : tensor<3xbf16>, tensor<2x8xf32>
}

// Tests that a caller has the argument too and passes it on, and that its other attributes stay.
// CHECK-LABEL: func.func @caller
// CHECK-SAME: (%[[FILE:[^:]+]]: memref<?xi8> {moe.name = "parameters", moe.role = "parameters"}, %[[I:[^:]+]]: index {moe.name = "i"})
func.func @caller(%i: index {moe.name = "i"}) -> tensor<2x8xf32> {
  // CHECK: call @callee(%[[FILE]], %[[I]])
  %a, %b = call @callee(%i) : (index) -> (tensor<3xbf16>, tensor<2x8xf32>)
  %c = ml_program.global_load_const @c : tensor<4xi8>
  %e = ml_program.global_load_const @empty : tensor<0x4xf32>
  return %b : tensor<2x8xf32>
}

// CHECK-LABEL: func.func @without_weights
// CHECK-SAME: (%{{[^:]+}}: index)
func.func @without_weights(%i: index) -> index {
  return %i : index
}
