// Every operation, type and attribute in custom form, printed, parsed and printed again; and in generic form.
// RUN: moe-opt %s | FileCheck %s
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s -mlir-print-op-generic | moe-opt | FileCheck %s

// CHECK: ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<8x96x64xbf16>>]>) : !moe.bank<tensor<8x96x64xbf16>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<8x96x64xbf16>>]>) : !moe.bank<tensor<8x96x64xbf16>>

// CHECK-LABEL: @types
// CHECK-SAME: !moe.routing<? x 8, slots = 2>
// CHECK-SAME: !moe.routing<16 x 64, slots = 8, scope = sequence>
// CHECK-SAME: !moe.routing<0 x 1, slots = 1, scope = batch>
// CHECK-SAME: !moe.bank<tensor<8x96x64xi8>, tensor<8x96x2xf16>>
func.func private @types(!moe.routing<? x 8, slots = 2>, !moe.routing<16 x 64, slots = 8, scope = sequence>,
                         !moe.routing<0 x 1, slots = 1, scope = batch>,
                         !moe.bank<tensor<8x96x64xi8>, tensor<8x96x2xf16>>)

// CHECK-LABEL: @select
// CHECK-SAME: %[[LOGITS:[^:]+]]: tensor<?x8xf32>, %[[BIAS:[^:]+]]: tensor<8xf32>
func.func @select(%logits: tensor<?x8xf32>, %bias: tensor<8xf32>)
    -> (!moe.routing<? x 8, slots = 2>, !moe.routing<? x 8, slots = 3>, !moe.routing<? x 8, slots = 1>) {
  // CHECK: %[[PLAIN:.+]] = moe.select %[[LOGITS]] policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
  // CHECK-SAME: : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %plain = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: %[[BIASED:.+]] = moe.select %[[LOGITS]] bias(%[[BIAS]] : tensor<8xf32>)
  // CHECK-SAME: score(#moe.sigmoid) normalize(#moe.sum_to_one<epsilon = 9.99999968E-21 : f32>) scale(2.500000e+00)
  %biased = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.top_k<3>) score(#moe.sigmoid)
    normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  // CHECK: %[[ONE:.+]] = moe.select %[[LOGITS]] policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.softmax_selected)
  %one = moe.select %logits policy(#moe.top_k<1>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  // CHECK: return %[[PLAIN]], %[[BIASED]], %[[ONE]]
  return %plain, %biased, %one
    : !moe.routing<? x 8, slots = 2>, !moe.routing<? x 8, slots = 3>, !moe.routing<? x 8, slots = 1>
}

// CHECK-LABEL: @routing_tuple
// CHECK-SAME: %[[IDS:[^:]+]]: tensor<?x2xi32>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
func.func @routing_tuple(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  // CHECK: %[[ROUTING:.+]] = moe.make_routing %[[IDS]], %[[WEIGHTS]]
  // CHECK-SAME: : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  %routing = moe.make_routing %ids, %weights
    : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  // CHECK: %[[PARTS:.+]], %[[PART_WEIGHTS:.+]] = moe.routing_parts %[[ROUTING]]
  // CHECK-SAME: : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  %parts, %part_weights = moe.routing_parts %routing
    : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: return %[[PARTS]], %[[PART_WEIGHTS]]
  return %parts, %part_weights : tensor<?x2xi32>, tensor<?x2xf32>
}

// CHECK-LABEL: @bank_tuple
// CHECK-SAME: %[[COMPONENT:[^:]+]]: tensor<8x96x64xf32>
func.func @bank_tuple(%data: tensor<8x96x64xf32>) -> tensor<8x96x64xf32> {
  // CHECK: %[[BANK:.+]] = moe.make_bank %[[COMPONENT]] : tensor<8x96x64xf32> -> <tensor<8x96x64xf32>>
  %bank = moe.make_bank %data : tensor<8x96x64xf32> -> !moe.bank<tensor<8x96x64xf32>>
  // CHECK: %[[DATA:.+]] = moe.bank_parts %[[BANK]] : <tensor<8x96x64xf32>> -> tensor<8x96x64xf32>
  %parts = moe.bank_parts %bank : !moe.bank<tensor<8x96x64xf32>> -> tensor<8x96x64xf32>
  // CHECK: return %[[DATA]]
  return %parts : tensor<8x96x64xf32>
}

// CHECK-LABEL: @experts
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x64xf32>, %[[ROUTING:[^:]+]]: !moe.routing<? x 2, slots = 2>, %[[BANK:[^:]+]]: !moe.bank<tensor<2x64xbf16>>
// CHECK-SAME: %[[SHARED:[^:]+]]: tensor<64xf32>, %[[STATE:[^:]+]]: tensor<2x?xf32>
func.func @experts(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 2, slots = 2>,
                   %bank: !moe.bank<tensor<2x64xbf16>>, %shared: tensor<64xf32>, %state: tensor<2x?xf32>)
    -> (tensor<?x64xf32>, tensor<2x?xf32>) {
  // CHECK: %[[Y:.+]], %[[NEW_STATE:.+]] = moe.experts rows(%[[X]] : tensor<?x64xf32>)
  // CHECK-SAME: routed_by(%[[ROUTING]] : !moe.routing<? x 2, slots = 2>) banks(%[[BANK]] : !moe.bank<tensor<2x64xbf16>>)
  // CHECK-SAME: shared(%[[SHARED]] : tensor<64xf32>) state(%[[STATE]] : tensor<2x?xf32>) combine(#moe.weighted_sum)
  // CHECK-SAME: classes([0, 1]) -> tensor<?x64xf32>, tensor<2x?xf32> {
  // CHECK-NEXT: ^bb0(%[[ROWS:.+]]: tensor<?x64xf32>, %{{.+}}: tensor<64xbf16>, %{{.+}}: tensor<64xf32>, %[[SLICE:.+]]: tensor<?xf32>):
  // CHECK-NEXT: moe.yield %[[ROWS]], %[[SLICE]] : tensor<?x64xf32>, tensor<?xf32>
  // CHECK-NEXT: }, {
  %y, %new = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 2, slots = 2>)
    banks(%bank : !moe.bank<tensor<2x64xbf16>>) shared(%shared : tensor<64xf32>) state(%state : tensor<2x?xf32>)
    combine(#moe.weighted_sum) classes([0, 1]) -> tensor<?x64xf32>, tensor<2x?xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %w: tensor<64xbf16>, %s: tensor<64xf32>, %slice: tensor<?xf32>):
    moe.yield %rows, %slice : tensor<?x64xf32>, tensor<?xf32>
  }, {
  ^bb0(%rows: tensor<?x64xf32>, %w: tensor<64xbf16>, %s: tensor<64xf32>, %slice: tensor<?xf32>):
    moe.yield %rows, %slice : tensor<?x64xf32>, tensor<?xf32>
  }
  // CHECK: return %[[Y]], %[[NEW_STATE]]
  return %y, %new : tensor<?x64xf32>, tensor<2x?xf32>
}

// CHECK-LABEL: @how
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x64xf32>, %[[ROUTING:[^:]+]]: !moe.routing<? x 8, slots = 2>, %[[WEIGHTS:[^:]+]]: tensor<?x2xf32>
// CHECK-SAME: %[[GATE:[^:]+]]: !moe.bank<tensor<8x96x64xf32>>, %[[UP:[^:]+]]: !moe.bank<tensor<8x3x64x32xbf16>>, %[[DOWN:[^:]+]]: !moe.bank<tensor<8x64x96xf16>>
// CHECK-SAME: %[[ROWS_INIT:[^:]+]]: tensor<?x64xf32>, %[[H_INIT:[^:]+]]: tensor<?x96xf32>
func.func @how(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>, %weights: tensor<?x2xf32>,
               %gate: !moe.bank<tensor<8x96x64xf32>>, %up: !moe.bank<tensor<8x3x64x32xbf16>>,
               %down: !moe.bank<tensor<8x64x96xf16>>, %init: tensor<?x64xf32>, %h_init: tensor<?x96xf32>)
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  // CHECK: %[[OFFSETS:.+]], %[[TOKENS:.+]], %[[SLOTS:.+]] = moe.plan %[[ROUTING]]
  // CHECK-SAME: : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  // CHECK: %[[ROWS:.+]] = moe.gather ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] : tensor<?xindex>)
  // CHECK-SAME: outs(%[[ROWS_INIT]] : tensor<?x64xf32>) -> tensor<?x64xf32>
  %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%init : tensor<?x64xf32>)
    -> tensor<?x64xf32>
  // CHECK: %[[H:.+]] = moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] : tensor<?xindex>)
  // CHECK-SAME: banks(%[[GATE]], %[[UP]] : !moe.bank<tensor<8x96x64xf32>>, !moe.bank<tensor<8x3x64x32xbf16>>)
  // CHECK-SAME: groups(%[[OFFSETS]] : tensor<9xindex>) outs(%[[H_INIT]] : tensor<?x96xf32>) -> tensor<?x96xf32> {
  // CHECK-NEXT: ^bb0(%[[G:.+]]: f32, %[[U:.+]]: f32):
  // CHECK-NEXT: %[[P:.+]] = arith.mulf %[[G]], %[[U]] : f32
  // CHECK-NEXT: moe.yield %[[P]] : f32
  %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
    banks(%gate, %up : !moe.bank<tensor<8x96x64xf32>>, !moe.bank<tensor<8x3x64x32xbf16>>)
    groups(%offsets : tensor<9xindex>) outs(%h_init : tensor<?x96xf32>) -> tensor<?x96xf32> {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    moe.yield %p : f32
  }
  // CHECK: %[[O:.+]] = moe.grouped_matmul ins(%[[H]] : tensor<?x96xf32>) banks(%[[DOWN]] : !moe.bank<tensor<8x64x96xf16>>)
  // CHECK-SAME: groups(%[[OFFSETS]] : tensor<9xindex>)
  %o = moe.grouped_matmul ins(%h : tensor<?x96xf32>) banks(%down : !moe.bank<tensor<8x64x96xf16>>)
    groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[Y:.+]] = moe.combine ins(%[[O]] : tensor<?x64xf32>) at(%[[SLOTS]] : tensor<?x2xindex>)
  // CHECK-SAME: weights(%[[WEIGHTS]] : tensor<?x2xf32>) kind(#moe.sum) outs(%[[ROWS]] : tensor<?x64xf32>)
  %y = moe.combine ins(%o : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
    kind(#moe.sum) outs(%rows : tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: return %[[Y]], %[[ROWS]]
  return %y, %rows : tensor<?x64xf32>, tensor<?x64xf32>
}

// A gather may take 32-bit and 64-bit indices and widen what it copies.
// CHECK-LABEL: @embedding
// CHECK-SAME: %[[TABLE:[^:]+]]: tensor<100x64xbf16>, %[[IDS:[^:]+]]: tensor<?xi32>, %[[INIT:[^:]+]]: tensor<?x64xf32>
func.func @embedding(%table: tensor<100x64xbf16>, %ids: tensor<?xi32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[Y:.+]] = moe.gather ins(%[[TABLE]] : tensor<100x64xbf16>) at(%[[IDS]] : tensor<?xi32>) outs(%[[INIT]] : tensor<?x64xf32>)
  %y = moe.gather ins(%table : tensor<100x64xbf16>) at(%ids : tensor<?xi32>) outs(%init : tensor<?x64xf32>)
    -> tensor<?x64xf32>
  // CHECK: return %[[Y]]
  return %y : tensor<?x64xf32>
}

// The facts about a target and about a model stand on the module.
// CHECK: module @described attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 2048>, moe.language_model = {max_context = 64 : i64, vocabulary = 100 : i64}, moe.summary = "a model",
// CHECK-SAME: moe.target = #moe.cpu<"znver4", "+avx512f", vectorBits = 512, l1Bytes = 32768, l2Bytes = 1048576>}
module @described attributes {
  moe.device = #moe.gpu<"sm_90a", maxTokens = 2048>,
  moe.language_model = {vocabulary = 100 : i64, max_context = 64 : i64}, moe.summary = "a model",
  moe.target = #moe.cpu<"znver4", "+avx512f", vectorBits = 512, l1Bytes = 32768, l2Bytes = 1048576>
} {}

// Tests several tensors of rows, weights for the body, banks of one class, and slots kept apart.
// CHECK-LABEL: @experts_of_classes
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x64xf32>, %[[Z:[^:]+]]: tensor<?x8xf32>
// CHECK: moe.experts rows(%[[X]], %[[Z]] : tensor<?x64xf32>, tensor<?x8xf32>)
// CHECK-SAME: with_weights banks(
// CHECK-SAME: combine(#moe.concat_slots) classes([0, 1, 1]) bank_classes([1]) -> tensor<?x16xf32>
// CHECK: moe.yield
func.func @experts_of_classes(%x: tensor<?x64xf32>, %z: tensor<?x8xf32>, %routing: !moe.routing<? x 3, slots = 2>,
                              %b: !moe.bank<tensor<2x8xf32>>) -> tensor<?x16xf32> {
  %y = moe.experts rows(%x, %z : tensor<?x64xf32>, tensor<?x8xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 2>)
         with_weights banks(%b : !moe.bank<tensor<2x8xf32>>)
         combine(#moe.concat_slots) classes([0, 1, 1]) bank_classes([1]) -> tensor<?x16xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %beside: tensor<?x8xf32>, %weights: tensor<?xf32>):
    moe.yield %beside : tensor<?x8xf32>
  }, {
  ^bb0(%rows: tensor<?x64xf32>, %beside: tensor<?x8xf32>, %weights: tensor<?xf32>, %own: tensor<8xf32>):
    moe.yield %beside : tensor<?x8xf32>
  }
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @vectors
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x4xf32>, %[[W:[^:]+]]: !moe.bank<tensor<2x6x4xf32>>, %[[V:[^:]+]]: !moe.bank<tensor<2x6xf16>>
// CHECK-SAME: %[[OFFSETS:[^:]+]]: tensor<3xindex>, %[[INIT:[^:]+]]: tensor<?x6xf32>
// CHECK: %[[ROWS:.+]] = moe.fill_groups ins(%[[V]] : !moe.bank<tensor<2x6xf16>>) groups(%[[OFFSETS]] : tensor<3xindex>) outs(%[[INIT]] : tensor<?x6xf32>) -> tensor<?x6xf32>
// CHECK: moe.grouped_matmul ins(%[[X]] : tensor<?x4xf32>) banks(%[[W]] : !moe.bank<tensor<2x6x4xf32>>) vectors(%[[V]] : !moe.bank<tensor<2x6xf16>>) groups(%[[OFFSETS]] : tensor<3xindex>) outs(%[[ROWS]] : tensor<?x6xf32>) -> tensor<?x6xf32> {
func.func @vectors(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>, %v: !moe.bank<tensor<2x6xf16>>, %offsets: tensor<3xindex>,
                   %init: tensor<?x6xf32>) -> tensor<?x6xf32> {
  %rows = moe.fill_groups ins(%v : !moe.bank<tensor<2x6xf16>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         vectors(%v : !moe.bank<tensor<2x6xf16>>) groups(%offsets : tensor<3xindex>) outs(%rows : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    moe.yield %s : f32
  }
  return %y : tensor<?x6xf32>
}
