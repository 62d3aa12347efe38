// RUN: moe-opt %S/Inputs/optimize-layer.mlir --moe-optimize | FileCheck %s

// Tests that the stage leaves no gathered rows, no product of its own for the gate, no bias outside of it, no zeros under the combine, and one
// loop for the router.
// CHECK-LABEL: func.func @experts(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x19xf32>
// CHECK:         %[[OFFSETS:.+]], %[[TOKENS:.+]], %[[SLOTS:.+]] = moe.plan
// CHECK-NOT:     moe.gather ins(%[[X]]
// CHECK-NOT:     linalg.matmul
// CHECK:         %[[H:.+]] = moe.grouped_matmul ins(%[[X]] : tensor<?x19xf32>) at(%[[TOKENS]] : tensor<?xindex>) banks(%{{[^ ]+}}, %{{[^ ]+}} :
// CHECK-SAME:      vectors(%{{[^ ]+}} :
// CHECK-SAME:      groups(%[[OFFSETS]] : tensor<6xindex>)
// CHECK-NEXT:    ^bb0(%{{[^:]+}}: f32, %{{[^:]+}}: f32, %{{[^:]+}}: f32):
// CHECK-NOT:     linalg.generic
// CHECK:         moe.grouped_matmul ins(%[[H]] :
// CHECK:         moe.grouped_matmul ins(%[[X]] : tensor<?x19xf32>) banks(%{{.+}}, %{{.+}} : !moe
// CHECK:         moe.grouped_matmul
// CHECK-NOT:     linalg.fill
// CHECK:         %[[SHARED:.+]] = linalg.generic
// CHECK:         moe.combine {{.+}} at(%[[SLOTS]] : {{.+}} outs(%[[SHARED]] :
// CHECK-LABEL: func.func @router_choice(
// CHECK:         scf.forall
// CHECK:           moe.grouped_matmul
// CHECK:           moe.select
// CHECK:         scf.forall.in_parallel
// CHECK-NOT:     moe.grouped_matmul
// CHECK:         return
