// moe.plan: a counting sort, with and without the call that records the load.
// RUN: moe-opt %s --convert-moe-to-linalg --canonicalize --cse | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-linalg=record-load=true --canonicalize --cse | FileCheck %s --check-prefix=RECORD

// CHECK-LABEL: @plan
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>
func.func @plan(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> (tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>) {
  // CHECK-DAG: %[[EXPERTS:.+]] = arith.constant 8 : index
  // CHECK-DAG: %[[NONE:.+]] = arith.constant -1 : index
  // CHECK: %[[TOKENS:.+]] = tensor.dim %[[IDS]]
  // CHECK: %[[PAIRS:.+]] = arith.muli %[[TOKENS]], %{{.+}}

  // The rows of each expert are counted; ids that are no expert's are not.
  // CHECK: %[[COUNTS:[^ :]+]] = scf.for %[[T:[^ ]+]] = %{{.+}} to %[[TOKENS]]
  // CHECK: scf.for %[[S:[^ ]+]] =
  // CHECK: %[[ID:.+]] = tensor.extract %[[IDS]][%[[T]], %[[S]]]
  // CHECK: %[[EXPERT:.+]] = arith.index_cast %[[ID]]
  // CHECK: %[[CHOSEN:.+]] = arith.cmpi ult, %[[EXPERT]], %[[EXPERTS]]
  // CHECK: scf.if %[[CHOSEN]]

  // Counts become offsets.
  // CHECK: %[[OFFSETS:[^ :]+]]:2 = scf.for %{{.+}} = %{{.+}} to %[[EXPERTS]] step %{{.+}} iter_args(%{{.+}} = %[[COUNTS]], %{{.+}} = %{{.+}})

  // Each pair takes the next row of its expert; entries without a row stay 0.
  // CHECK: %[[EMPTY:.+]] = tensor.empty(%[[PAIRS]])
  // CHECK: %[[ZEROS:.+]] = linalg.fill ins(%{{.+}} : index) outs(%[[EMPTY]] : tensor<?xindex>)
  // CHECK: %[[PLACED:[^ :]+]]:3 = scf.for {{.+}} iter_args(%{{.+}} = %[[OFFSETS]]#1, %{{.+}} = %[[ZEROS]], %{{.+}} = %{{.+}})
  // CHECK: tensor.insert %[[NONE]] into
  // CHECK: return %[[OFFSETS]]#0, %[[PLACED]]#1, %[[PLACED]]#2

  // RECORD-LABEL: func.func private @moe_record_load(tensor<?xindex> {bufferization.access = "read"})
  // RECORD-LABEL: @plan
  // RECORD: %[[OFFSETS:[^ :]+]]:2 = scf.for
  // RECORD: %[[ANY:.+]] = tensor.cast %[[OFFSETS]]#0 : tensor<9xindex> to tensor<?xindex>
  // RECORD: call @moe_record_load(%[[ANY]]) : (tensor<?xindex>) -> ()
  // RECORD: return
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  return %offsets, %tokens, %slots : tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
}
