// Arithmetic on whole tensors: one linalg operation for each chain, and where a chain ends.
// RUN: moe-opt %s --moe-convert-elementwise | FileCheck %s

// An operation that the chain reads twice is in it; a scalar is the same for all elements.
// CHECK-LABEL: @chain
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x4xf32>, %[[Y:[^:]+]]: tensor<?x4xf32>, %[[C:[^:]+]]: i1
// CHECK-NEXT: %[[R:.+]] = linalg.generic {{.+}} ins(%[[Y]], %[[X]] : tensor<?x4xf32>, tensor<?x4xf32>) outs(%[[Y]] : tensor<?x4xf32>)
// CHECK-NEXT: ^bb0(%[[B:.+]]: f32, %[[A:.+]]: f32, %{{.+}}: f32):
// CHECK-NEXT: %[[P:.+]] = arith.mulf %[[A]], %[[A]] fastmath<nnan> : f32
// CHECK-NEXT: %[[S:.+]] = arith.addf %[[P]], %[[B]] : f32
// CHECK-NEXT: %[[T:.+]] = arith.select %[[C]], %[[S]], %[[P]] : f32
// CHECK-NEXT: linalg.yield %[[T]] : f32
// CHECK-NEXT: }
// CHECK-NEXT: return %[[R]]
func.func @chain(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>, %c: i1) -> tensor<?x4xf32> {
  %p = arith.mulf %x, %x fastmath<nnan> : tensor<?x4xf32>
  %s = arith.addf %p, %y : tensor<?x4xf32>
  %t = arith.select %c, %s, %p : tensor<?x4xf32>
  return %t : tensor<?x4xf32>
}

// A value that others read as well is computed once; where no input has the type of the result, it goes to a tensor of
// its own.
// CHECK-LABEL: @shared
// CHECK: %[[P:.+]] = linalg.generic
// CHECK: arith.mulf
// CHECK: %[[N:.+]] = tensor.dim
// CHECK: %[[E:.+]] = tensor.empty(%[[N]]) : tensor<?xi1>
// CHECK: %[[R:.+]] = linalg.generic {{.+}} ins({{.*}}%[[P]]{{.*}} : tensor<?xf32>, tensor<?xf32>) outs(%[[E]] : tensor<?xi1>)
// CHECK: arith.negf
// CHECK-NEXT: arith.cmpf
// CHECK: return %[[P]], %[[R]]
func.func @shared(%x: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xi1>) {
  %p = arith.mulf %x, %x : tensor<?xf32>
  %n = arith.negf %p : tensor<?xf32>
  %r = arith.cmpf olt, %n, %x : tensor<?xf32>
  return %p, %r : tensor<?xf32>, tensor<?xi1>
}

// A chain ends where its inputs are too many, and at the end of a block.
// CHECK-LABEL: @long
// CHECK-COUNT-2: linalg.generic
// CHECK-NOT: linalg.generic
// CHECK: scf.if
// CHECK: linalg.generic
// CHECK-NOT: arith.{{.+}} tensor
// CHECK: return
func.func @long(%a: tensor<4xf32>, %b: tensor<4xf32>, %c: tensor<4xf32>, %d: tensor<4xf32>, %e: tensor<4xf32>,
                %f: tensor<4xf32>, %g: tensor<4xf32>, %h: tensor<4xf32>, %i: tensor<4xf32>, %w: i1) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  %1 = arith.addf %0, %c : tensor<4xf32>
  %2 = arith.addf %1, %d : tensor<4xf32>
  %3 = arith.addf %2, %e : tensor<4xf32>
  %4 = arith.addf %3, %f : tensor<4xf32>
  %5 = arith.addf %4, %g : tensor<4xf32>
  %6 = arith.addf %5, %h : tensor<4xf32>
  %7 = arith.addf %6, %i : tensor<4xf32>
  %8 = scf.if %w -> tensor<4xf32> {
    %9 = arith.negf %7 : tensor<4xf32>
    scf.yield %9 : tensor<4xf32>
  } else {
    scf.yield %7 : tensor<4xf32>
  }
  return %8 : tensor<4xf32>
}
