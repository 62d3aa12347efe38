// RUN: moe-opt %s --moe-fuse-gating --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s
// RUN: moe-opt %s --moe-fuse-gating=tile-size=8 --split-input-file | FileCheck %s --check-prefix=EIGHT

// Tests that product and selection become one loop over tiles of tokens, whose last tile is short, and that ids and
// weights of the tiles are put together again.
// CHECK-LABEL: func.func @router(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[W:[^:]+]]: !moe.bank<tensor<1x8x64xf32>>, %[[BIAS:[^:]+]]: tensor<8xf32>
// CHECK-DAG:     %[[IDS:.+]] = tensor.empty(%[[TOKENS:.+]]) : tensor<?x2xi32>
// CHECK-DAG:     %[[WEIGHTS:.+]] = tensor.empty(%[[TOKENS]]) : tensor<?x2xf32>
// CHECK:         %[[PARTS:.+]]:2 = scf.forall (%[[T:.+]]) = (0) to (%[[TOKENS]]) step (24)
// CHECK-SAME:      shared_outs(%[[IDS_OUT:.+]] = %[[IDS]], %[[WEIGHTS_OUT:.+]] = %[[WEIGHTS]])
// CHECK:           %[[REST:.+]] = arith.subi %[[TOKENS]], %[[T]]
// CHECK:           %[[SIZE:.+]] = arith.minsi %[[REST]], %{{.+}}
// CHECK:           %[[ROWS:.+]] = tensor.extract_slice %[[X]][%[[T]], 0] [%[[SIZE]], 64] [1, 1]
// CHECK-NOT:       tensor.generate
// CHECK:           %[[OFFSETS:.+]] = tensor.from_elements %{{.+}}, %[[SIZE]] : tensor<2xindex>
// CHECK:           %[[LOGITS:.+]] = moe.grouped_matmul ins(%[[ROWS]] : tensor<?x64xf32>) banks(%[[W]] :
// CHECK-SAME:        groups(%[[OFFSETS]] :
// CHECK:           %[[CHOSEN:.+]] = moe.select %[[LOGITS]] bias(%[[BIAS]] : tensor<8xf32>) policy(#moe.top_k<2>)
// CHECK-SAME:        score(#moe.softmax) normalize(#moe.sum_to_one) scale(2.0
// CHECK:           %[[TILE_IDS:.+]], %[[TILE_WEIGHTS:.+]] = moe.routing_parts %[[CHOSEN]]
// CHECK:             tensor.parallel_insert_slice %[[TILE_IDS]] into %[[IDS_OUT]][%[[T]], 0] [%[[SIZE]], 2] [1, 1]
// CHECK:             tensor.parallel_insert_slice %[[TILE_WEIGHTS]] into %[[WEIGHTS_OUT]][%[[T]], 0] [%[[SIZE]], 2] [1, 1]
// CHECK-NOT:     moe.grouped_matmul
// CHECK:         %[[ROUTING:.+]] = moe.make_routing %[[PARTS]]#0, %[[PARTS]]#1
// CHECK:         return %[[ROUTING]]
// EIGHT-LABEL: func.func @router(
// EIGHT:         scf.forall {{.+}} step (8)
func.func @router(%x: tensor<?x64xf32>, %w: !moe.bank<tensor<1x8x64xf32>>, %bias: tensor<8xf32>) -> !moe.routing<? x 8, slots = 2> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %offsets = tensor.from_elements %c0, %n : tensor<2xindex>
  %init = tensor.empty(%n) : tensor<?x8xf32>
  %logits = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<1x8x64xf32>>)
              groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.softmax)
               normalize(#moe.sum_to_one) scale(2.000000e+00) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing : !moe.routing<? x 8, slots = 2>
}

// -----

// Tests static sizes, and a product of several groups: a tile can cut through them.
// CHECK-LABEL: func.func @groups(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<100x64xf32>
// CHECK:         scf.forall (%[[T:.+]]) = (0) to (100) step (24)
// CHECK:           %[[ROWS:.+]] = tensor.extract_slice %[[X]][%[[T]], 0]
// CHECK:           %[[OFFSETS:.+]] = tensor.generate
// CHECK:           %[[LOGITS:.+]] = moe.grouped_matmul ins(%[[ROWS]] :
// CHECK-SAME:        groups(%[[OFFSETS]] : tensor<4xindex>)
// CHECK:           moe.select %[[LOGITS]]
// CHECK:         moe.make_routing {{.+}} tensor<100x2xi32>, tensor<100x2xf32> -> !moe.routing<100 x 8, slots = 2>
func.func @groups(%x: tensor<100x64xf32>, %w: !moe.bank<tensor<3x8x64xf32>>, %offsets: tensor<4xindex>) -> !moe.routing<100 x 8, slots = 2> {
  %init = tensor.empty() : tensor<100x8xf32>
  %logits = moe.grouped_matmul ins(%x : tensor<100x64xf32>) banks(%w : !moe.bank<tensor<3x8x64xf32>>)
              groups(%offsets : tensor<4xindex>) outs(%init : tensor<100x8xf32>) -> tensor<100x8xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.sigmoid) normalize(#moe.keep)
               : tensor<100x8xf32> -> !moe.routing<100 x 8, slots = 2>
  return %routing : !moe.routing<100 x 8, slots = 2>
}

// -----

// Tests that logits that somebody else reads are computed as a whole.
// CHECK-LABEL: func.func @logits_wanted(
// CHECK-NOT:     scf.forall
// CHECK:         %[[LOGITS:.+]] = moe.grouped_matmul
// CHECK:         moe.select %[[LOGITS]]
func.func @logits_wanted(%x: tensor<?x64xf32>, %w: !moe.bank<tensor<1x8x64xf32>>, %offsets: tensor<2xindex>, %init: tensor<?x8xf32>)
    -> (!moe.routing<? x 8, slots = 2>, tensor<?x8xf32>) {
  %logits = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<1x8x64xf32>>)
              groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{its logits have another reader}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
               : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing, %logits : !moe.routing<? x 8, slots = 2>, tensor<?x8xf32>
}

// -----

// Tests that logits from outside stay as they are.
// CHECK-LABEL: func.func @logits_given(
// CHECK-NOT:     scf.forall
// CHECK:         moe.select
func.func @logits_given(%logits: tensor<?x8xf32>) -> !moe.routing<? x 8, slots = 2> {
  // expected-remark @below {{its logits are no grouped product}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
               : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return %routing : !moe.routing<? x 8, slots = 2>
}

// -----

// Tests that parameters with an entry per token are cut with the tokens, and those that stand for all are not.
// CHECK-LABEL: func.func @parameters(
// CHECK-SAME:    tensor<?x64xf32>, %{{[^:]+}}: !moe.bank<tensor<1x8x64xf32>>, %[[KEY:[^:]+]]: tensor<1xi32>,
// CHECK-SAME:    %[[COUNTER:[^:]+]]: tensor<?xi32>, %[[WEIGH:[^:]+]]: tensor<?x8xf32>
// CHECK:         scf.forall (%[[T:[^ )]+]])
// CHECK:           %[[REST:.+]] = arith.subi %{{.+}}, %[[T]]
// CHECK:           %[[SIZE:.+]] = arith.minsi %[[REST]], %{{.+}}
// CHECK:           %[[LOGITS:.+]] = moe.grouped_matmul
// CHECK-DAG:       %[[OWN_WEIGH:.+]] = tensor.extract_slice %[[WEIGH]][%[[T]], 0] [%[[SIZE]], 8] [1, 1]
// CHECK-DAG:       %[[OWN_COUNTER:.+]] = tensor.extract_slice %[[COUNTER]][%[[T]]] [%[[SIZE]]] [1]
// CHECK:           moe.select %[[LOGITS]] weigh(%[[OWN_WEIGH]] : tensor<?x8xf32>) policy(#moe.sample)
// CHECK-SAME:        with(key = %[[KEY]] : tensor<1xi32>, counter = %[[OWN_COUNTER]] : tensor<?xi32>)
// CHECK-SAME:        scope(request) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1, scope = request>
// CHECK:         moe.make_routing {{.+}} -> !moe.routing<? x 8, slots = 1, scope = request>
func.func @parameters(%x: tensor<?x64xf32>, %w: !moe.bank<tensor<1x8x64xf32>>, %key: tensor<1xi32>, %counter: tensor<?xi32>,
                      %weigh: tensor<?x8xf32>) -> !moe.routing<? x 8, slots = 1, scope = request> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %offsets = tensor.from_elements %c0, %n : tensor<2xindex>
  %init = tensor.empty(%n) : tensor<?x8xf32>
  %logits = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<1x8x64xf32>>)
              groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits weigh(%weigh : tensor<?x8xf32>) policy(#moe.sample)
               with(key = %key : tensor<1xi32>, counter = %counter : tensor<?xi32>) score(#moe.softmax) normalize(#moe.keep)
               scope(request) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1, scope = request>
  return %routing : !moe.routing<? x 8, slots = 1, scope = request>
}

// -----

// Tests that tokens that compete are not told apart.
// CHECK-LABEL: func.func @coupled(
// CHECK-NOT:     scf.forall
// CHECK:         %[[LOGITS:.+]] = moe.grouped_matmul
// CHECK:         moe.select %[[LOGITS]] policy(#moe.expert_choice)
func.func @coupled(%x: tensor<?x64xf32>, %w: !moe.bank<tensor<1x8x64xf32>>, %offsets: tensor<2xindex>, %init: tensor<?x8xf32>,
                   %capacity: tensor<1xindex>) -> !moe.routing<? x 8, slots = 8> {
  %logits = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<1x8x64xf32>>)
              groups(%offsets : tensor<2xindex>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  // expected-remark @below {{the policy looks at several tokens at once}}
  %routing = moe.select %logits policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
               normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return %routing : !moe.routing<? x 8, slots = 8>
}
