// moe.limit, moe.spread and moe.reweigh as loops.
// RUN: moe-opt %s --convert-moe-to-linalg --canonicalize --cse | FileCheck %s

// Tests that tokens are the outer loop, that an expert's count is kept per group, and that a group that is not known
// (also a negative one) counts apart from the others.
// CHECK-LABEL: @limit_by_token
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>, %[[CAPACITY:[^:]+]]: tensor<?xindex>,
// CHECK-SAME: %[[GROUPS:[^:]+]]: tensor<?xi32>
func.func @limit_by_token(%routing: !moe.routing<? x 8, slots = 2>, %capacity: tensor<?xindex>, %groups: tensor<?xi32>)
    -> !moe.routing<? x 8, slots = 2> {
  // CHECK-DAG: %[[NONE:.+]] = arith.constant -1 : i32
  // CHECK-DAG: %[[SLOTS:.+]] = arith.constant 2 : index
  // CHECK-DAG: %[[TOKENS:.+]] = tensor.dim %[[IDS]]
  // CHECK-DAG: %[[GROUP_COUNT:.+]] = tensor.dim %[[CAPACITY]]
  // CHECK: %[[ROWS:.+]] = arith.addi %[[GROUP_COUNT]]
  // CHECK: tensor.empty(%[[ROWS]]) : tensor<?x8xindex>
  // CHECK: %[[LEFT:[^ :]+]]:3 = scf.for %[[T:[^ ]+]] = %{{.+}} to %[[TOKENS]] step
  // CHECK: scf.for %[[S:[^ ]+]] = %{{.+}} to %[[SLOTS]] step
  // CHECK: %[[ID:.+]] = tensor.extract %[[IDS]][%[[T]], %[[S]]]
  // CHECK: %[[WEIGHT:.+]] = tensor.extract %[[WEIGHTS]][%[[T]], %[[S]]]
  // CHECK: tensor.extract %[[GROUPS]][%[[T]]]
  // CHECK: arith.cmpi ult
  // CHECK: %[[ROOM:.+]] = scf.if
  // CHECK: tensor.extract %[[CAPACITY]]
  // CHECK: %[[FREE:.+]] = arith.cmpi slt, %{{.+}}, %[[ROOM]]
  // CHECK: %[[KEEP:.+]] = arith.andi %{{.+}}, %[[FREE]]
  // CHECK: arith.select %[[KEEP]], %[[ID]], %[[NONE]]
  // CHECK: arith.select %[[KEEP]], %[[WEIGHT]]
  // CHECK: return %[[LEFT]]#0, %[[LEFT]]#1
  %limited = moe.limit %routing capacity(%capacity : tensor<?xindex>) groups(%groups : tensor<?xi32>) priority(token)
    : !moe.routing<? x 8, slots = 2>
  return %limited : !moe.routing<? x 8, slots = 2>
}

// Tests that slots are the outer loop where first choices go before second ones.
// CHECK-LABEL: @limit_by_slot
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>
func.func @limit_by_slot(%routing: !moe.routing<? x 8, slots = 2>, %capacity: tensor<1xindex>) -> !moe.routing<? x 8, slots = 2> {
  // CHECK-DAG: %[[SLOTS:.+]] = arith.constant 2 : index
  // CHECK-DAG: %[[TOKENS:.+]] = tensor.dim %[[IDS]]
  // CHECK: scf.for %[[S:[^ ]+]] = %{{.+}} to %[[SLOTS]] step
  // CHECK: scf.for %[[T:[^ ]+]] = %{{.+}} to %[[TOKENS]] step
  // CHECK: tensor.extract %[[IDS]][%[[T]], %[[S]]]
  %limited = moe.limit %routing capacity(%capacity : tensor<1xindex>) priority(slot) : !moe.routing<? x 8, slots = 2>
  return %limited : !moe.routing<? x 8, slots = 2>
}

// Tests that a token whose row does not exist gets no expert.
// CHECK-LABEL: @spread
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>, %{{[^:]+}}: tensor<?x2xf32>, %[[ROWS:[^:]+]]: tensor<?xi32>
func.func @spread(%routing: !moe.routing<? x 8, slots = 2, scope = sequence>, %rows: tensor<?xi32>)
    -> !moe.routing<? x 8, slots = 2> {
  // CHECK-DAG: %[[NONE:.+]] = arith.constant -1 : i32
  // CHECK-DAG: %[[NOTHING:.+]] = arith.constant 0.000000e+00 : f32
  // CHECK: %[[COUNT:.+]] = tensor.dim %[[IDS]]
  // CHECK: %[[OWN:.+]] = tensor.extract %[[ROWS]]
  // CHECK: %[[ROW:.+]] = arith.index_cast %[[OWN]]
  // CHECK: %[[KNOWN:.+]] = arith.cmpi ult, %[[ROW]], %[[COUNT]]
  // CHECK: scf.if %[[KNOWN]]
  // CHECK: tensor.extract %[[IDS]][%[[ROW]],
  // CHECK: } else {
  // CHECK: scf.yield %[[NONE]], %[[NOTHING]]
  %spread = moe.spread %routing over(%rows : tensor<?xi32>)
    : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
  return %spread : !moe.routing<? x 8, slots = 2>
}

// Tests that ids of no expert become -1, and weights of empty slots 0 before they are summed and after.
// CHECK-LABEL: @reweigh
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
func.func @reweigh(%routing: !moe.routing<? x 8, slots = 2>) -> !moe.routing<? x 8, slots = 2> {
  // CHECK: %[[KNOWN:.+]] = linalg.generic {{.+}} ins(%[[IDS]] : tensor<?x2xi32>)
  // CHECK: arith.cmpi ult
  // CHECK: %[[FILLED:.+]] = linalg.generic {{.+}} ins(%[[WEIGHTS]], %[[KNOWN]]
  // CHECK: %[[SUM:.+]] = linalg.generic {{.+}} ins(%[[FILLED]] : tensor<?x2xf32>)
  // CHECK: %[[SHARES:.+]] = linalg.generic {{.+}} ins(%[[FILLED]], %[[SUM]]
  // CHECK: %[[AGAIN:.+]] = linalg.generic {{.+}} ins(%[[SHARES]], %[[KNOWN]]
  // CHECK: return %[[KNOWN]], %[[AGAIN]]
  %again = moe.reweigh %routing normalize(#moe.sum_to_one) : !moe.routing<? x 8, slots = 2>
  return %again : !moe.routing<? x 8, slots = 2>
}
