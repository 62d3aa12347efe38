// Products on tensor cores across bufferisation: a call writes its last argument, so an init that two products start from
// is copied for one of them, and nothing else is.
// RUN: moe-opt %s --moe-nvptx-tile --moe-nvptx-kernels | FileCheck %s

// CHECK-LABEL: func.func @dense(
// CHECK-SAME: %[[X:[^:]+]]: memref<?x64xf32>
// CHECK: %[[ROWS:.+]] = memref.alloc(%{{.+}}) {{.*}} : memref<?x64xbf16>
// CHECK: gpu.launch_func {{ ?}}@device::@dense_loop {{.*}} %[[X]] : memref<?x64xf32>, %[[ROWS]] : memref<?x64xbf16>)
// CHECK: %[[INIT:.+]] = memref.alloc(%{{.+}}) {{.*}} : memref<?x40xf32>
// CHECK: %[[COPY:.+]] = memref.alloc(%{{.+}}) {{.*}} : memref<?x40xf32>
// CHECK: gpu.launch_func {{.*}} %[[INIT]] : memref<?x40xf32>, %[[COPY]] : memref<?x40xf32>)
// CHECK: call @product_1x40x64(%[[ROWS]], %{{.+}}, %{{.+}}, %[[COPY]])
// CHECK-NOT: gpu.launch_func
// CHECK: call @product_1x40x64(%[[ROWS]], %{{.+}}, %{{.+}}, %[[INIT]])
// CHECK: return %[[COPY]], %[[INIT]]
// CHECK: func.func private @product_1x40x64(
// CHECK-NEXT: return{{$}}
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 100>} {
func.func @dense(%x: tensor<?x64xf32> {moe.name = "x"}, %a: tensor<1x40x64xbf16> {moe.name = "a"},
    %b: tensor<1x40x64xbf16> {moe.name = "b"})
    -> (tensor<?x40xf32> {moe.name = "y"}, tensor<?x40xf32> {moe.name = "z"}) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %f = arith.constant 3.0 : f32
  %offsets = tensor.from_elements %c0, %n : tensor<2xindex>
  %e = tensor.empty(%n) : tensor<?x40xf32>
  %init = linalg.fill ins(%f : f32) outs(%e : tensor<?x40xf32>) -> tensor<?x40xf32>
  %ba = moe.make_bank %a : tensor<1x40x64xbf16> -> !moe.bank<tensor<1x40x64xbf16>>
  %bb = moe.make_bank %b : tensor<1x40x64xbf16> -> !moe.bank<tensor<1x40x64xbf16>>
  %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%ba : !moe.bank<tensor<1x40x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x40xf32>) -> tensor<?x40xf32>
  %z = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%bb : !moe.bank<tensor<1x40x64xbf16>>)
    groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %y, %z : tensor<?x40xf32>, tensor<?x40xf32>
}
}
