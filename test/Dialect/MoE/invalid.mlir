// Every constraint of docs/Spec.md, by its label: what is rejected, with which words and notes.
// RUN: moe-opt %s -split-input-file -verify-diagnostics

//===--- select ---===//

func.func @select_s1_more_slots_than_experts(%logits: tensor<?x8xf32>) { // expected-note {{the logits have 8 experts}}
  // expected-error @+1 {{expected k to be at most the number of experts 8, got 9}}
  %routing = moe.select %logits policy(#moe.top_k<9>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 9>
  return
}

// -----

func.func @select_s2_bias_count(%logits: tensor<?x8xf32>,
                                %bias: tensor<7xf32>) { // expected-note {{the bias is made here}}
  // expected-error @+1 {{expected one bias per expert (8), got 7}}
  %routing = moe.select %logits bias(%bias : tensor<7xf32>) policy(#moe.top_k<2>) score(#moe.sigmoid)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s3_scale(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected the scale to be finite}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.sigmoid) normalize(#moe.keep) scale(0x7F800000)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @select_s4_dynamic_experts(%logits: tensor<4x?xf32>) { // expected-note {{the logits are made here}}
  // expected-error @+1 {{expected a static number of experts, at least one, as last extent of the logits, got ?}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<4x?xf32> -> !moe.routing<4 x 8, slots = 2>
  return
}

// -----

func.func @select_s4_no_experts(%logits: tensor<4x0xf32>) { // expected-note {{the logits are made here}}
  // expected-error @+1 {{expected a static number of experts, at least one, as last extent of the logits, got 0}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<4x0xf32> -> !moe.routing<4 x 8, slots = 2>
  return
}

// -----

func.func @top_k_not_positive(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{expected k to be 1 or more, got 0}}
  %routing = moe.select %logits policy(#moe.top_k<0>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @epsilon_not_finite(%logits: tensor<?x8xf32>) {
  // expected-error @+2 {{expected 'epsilon' to be a finite f32, 0 or more, got -1.000000e+00 : f32}}
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax)
    normalize(#moe.sum_to_one<epsilon = -1.0 : f32>) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// A score where a policy is wanted.
func.func @select_policy_is_a_score(%logits: tensor<?x8xf32>) {
  // expected-error @+1 {{invalid kind of attribute specified}}
  %routing = moe.select %logits policy(#moe.softmax) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

//===--- types ---===//

// expected-error @+1 {{expected at least one expert, got 0}}
func.func private @routing_t1_experts(!moe.routing<? x 0, slots = 2>)

// -----

// expected-error @+1 {{expected a number of experts, got '?': experts that come later make another program}}
func.func private @routing_t1_dynamic(!moe.routing<? x ?, slots = 2>)

// -----

// expected-error @+1 {{expected at least one slot, got 0}}
func.func private @routing_t1_slots(!moe.routing<? x 8, slots = 0>)

// -----

// expected-error @+1 {{expected the number of tokens to be 0 or more, got -3}}
func.func private @routing_t1_tokens(!moe.routing<-3 x 8, slots = 2>)

// -----

// expected-error @+1 {{expected experts and slots to fit 31 bits}}
func.func private @routing_t2_experts(!moe.routing<? x 4294967296, slots = 2>)

// -----

// expected-error @+1 {{expected tokens times slots to fit 63 bits, got 4611686018427387904 and 2}}
func.func private @routing_t2_pairs(!moe.routing<4611686018427387904 x 8, slots = 2>)

// -----

// expected-error @+1 {{expected the scope to be token, sequence, request or batch, got 'word'}}
func.func private @routing_scope(!moe.routing<? x 8, slots = 2, scope = word>)

// -----

// expected-error @+1 {{expected 'TOKENS x EXPERTS' with spaces around 'x'}}
func.func private @routing_spaces(!moe.routing<?x8, slots = 2>)

// -----

// expected-error @+1 {{expected every component of a bank to have a static shape of rank 1 or more, got 'tensor<?x4xf32>'}}
func.func private @bank_t3_static(!moe.bank<tensor<?x4xf32>>)

// -----

// expected-error @+1 {{expected all components of a bank to have the same number of experts, got 8 and 7}}
func.func private @bank_t4_experts(!moe.bank<tensor<8x4xi8>, tensor<7xf16>>)

// -----

// expected-error @+1 {{expected a bank to have at least one expert}}
func.func private @bank_t4_no_experts(!moe.bank<tensor<0x4xf32>>)

// -----

// expected-error @+1 {{expected the elements of a component to be counted in 63 bits, got 'tensor<4294967296x4294967296xf32>'}}
func.func private @bank_t5_overflow(!moe.bank<tensor<4294967296x4294967296xf32>>)

// -----

//===--- make_routing, make_bank ---===//

func.func @make_routing_r1_ids(
    %ids: tensor<?x3xi32>, // expected-note {{ids are made here}}
    %weights: tensor<?x2xf32>) {
  // expected-error @+1 {{expected ids to be [tokens, slots] of the routing}}
  %routing = moe.make_routing %ids, %weights : tensor<?x3xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

func.func @make_routing_r1_weights(
    %ids: tensor<4x2xi32>,
    %weights: tensor<5x2xf32>) { // expected-note {{weights are made here}}
  // expected-error @+1 {{expected weights to be [tokens, slots] of the routing}}
  %routing = moe.make_routing %ids, %weights : tensor<4x2xi32>, tensor<5x2xf32> -> !moe.routing<4 x 8, slots = 2>
  return
}

// -----

func.func @make_bank_b1_empty() {
  // expected-error @+2 {{expected a bank to have at least one component}}
  // expected-error @+1 {{failed to infer returned types}}
  %bank = "moe.make_bank"() : () -> !moe.bank<tensor<8x4xf32>>
  return
}

// -----

//===--- experts ---===//

func.func @experts_e1_rows(
    %x: tensor<5x4xf32>, // expected-note {{the rows are made here}}
    %routing: !moe.routing<6 x 8, slots = 2>) { // expected-note {{the routing is made here}}
  // expected-error @+1 {{expected one row per token of the routing (6), got 5}}
  %y = moe.experts rows(%x : tensor<5x4xf32>) routed_by(%routing : !moe.routing<6 x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<5x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e1_result(
    %x: tensor<5x4xf32>, // expected-note {{the rows are made here}}
    %routing: !moe.routing<5 x 8, slots = 2>) {
  // expected-error @+1 {{expected as many result rows as rows}}
  %y = moe.experts rows(%x : tensor<5x4xf32>) routed_by(%routing : !moe.routing<5 x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<6x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e2_banks(
    %x: tensor<?x4xf32>,
    %routing: !moe.routing<? x 8, slots = 2>, // expected-note {{the routing is made here}}
    %bank: !moe.bank<tensor<7x4x4xf32>>) { // expected-note {{the bank is made here}}
  // expected-error @+1 {{expected banks of 8 experts, got 7}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%bank : !moe.bank<tensor<7x4x4xf32>>) combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %w: tensor<4x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e3_count(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>, %s: tensor<8x3xf32>) {
  // expected-error @+1 {{expected one new state per state, got 0 for 1}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         state(%s : tensor<8x3xf32>) combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %t: tensor<3xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e3_type(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>,
                           %s: tensor<8x3xf32>) { // expected-note {{the state is made here}}
  // expected-error @+1 {{expected the new state to have the type of the state}}
  %y, %n = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         state(%s : tensor<8x3xf32>) combine(#moe.weighted_sum) -> tensor<?x4xf32>, tensor<8x2xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %t: tensor<3xf32>):
    moe.yield %rows, %t : tensor<?x4xf32>, tensor<3xf32>
  }
  return
}

// -----

func.func @experts_e3_experts(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>,
                              %s: tensor<3xf32>) { // expected-note {{the state is made here}}
  // expected-error @+1 {{expected the first extent of a state to be the number of experts}}
  %y, %n = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         state(%s : tensor<3xf32>) combine(#moe.weighted_sum) -> tensor<?x4xf32>, tensor<3xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %t: tensor<f32>):
    moe.yield %rows, %t : tensor<?x4xf32>, tensor<f32>
  }
  return
}

// -----

func.func @experts_e4_no_body(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected at least one body region}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x4xf32>
  return
}

// -----

func.func @experts_e4_class_count(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 4, slots = 2>) {
  // expected-error @+1 {{expected 'classes' to have one entry per expert (4), got 3}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         combine(#moe.weighted_sum) classes([0, 0, 0]) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e4_class_range(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 4, slots = 2>) {
  // expected-error @+1 {{expected classes between 0 and 0, got 1}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         combine(#moe.weighted_sum) classes([0, 0, 1, 0]) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e4_no_classes(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 4, slots = 2>) {
  // expected-error @+1 {{expected 'classes' with 2 body regions}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }, {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e5_arguments(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>,
                                %bank: !moe.bank<tensor<8x4x4xf32>>) {
  // expected-error @+1 {{expected body arguments of types ('tensor<?x4xf32>', 'tensor<4x4xf32>'), got ('tensor<?x4xf32>')}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%bank : !moe.bank<tensor<8x4x4xf32>>) combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e6_yield(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected the body to yield ('tensor<?x6xf32>')}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x6xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32> // expected-note {{it ends here}}
  }
  return
}

// -----

func.func @experts_e7_width(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected the result to have a static width, got 'tensor<?x?xf32>'}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x?xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    %cast = tensor.cast %rows : tensor<?x4xf32> to tensor<?x?xf32>
    moe.yield %cast : tensor<?x?xf32>
  }
  return
}

// -----

// A body sees nothing but its arguments.
func.func @experts_isolated(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>, %other: tensor<?x4xf32>) {
  // expected-note @+1 {{required by region isolation constraints}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    // expected-error @+1 {{using value defined outside the region}}
    moe.yield %other : tensor<?x4xf32>
  }
  return
}

// -----

//===--- gather ---===//

func.func @gather_g1_indices(%x: tensor<9x4xf32>,
                             %at: tensor<5xindex>, // expected-note {{the indices are made here}}
                             %init: tensor<6x4xf32>) {
  // expected-error @+1 {{expected one row per index}}
  %y = moe.gather ins(%x : tensor<9x4xf32>) at(%at : tensor<5xindex>) outs(%init : tensor<6x4xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @gather_g2_width(%x: tensor<9x3xf32>, // expected-note {{the source is made here}}
                           %at: tensor<?xindex>, %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected the rows of source and init to have one width}}
  %y = moe.gather ins(%x : tensor<9x3xf32>) at(%at : tensor<?xindex>) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @gather_g3_element(%x: tensor<9x4xf32>, %at: tensor<?xindex>, %init: tensor<?x4xbf16>) {
  // expected-error @+1 {{expected the init to have element type 'f32' or f32}}
  %y = moe.gather ins(%x : tensor<9x4xf32>) at(%at : tensor<?xindex>) outs(%init : tensor<?x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @gather_g4_result(%x: tensor<9x4xf32>, %at: tensor<?xindex>, %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected the result to have the type of the init}}
  %y = moe.gather ins(%x : tensor<9x4xf32>) at(%at : tensor<?xindex>) outs(%init : tensor<?x4xf32>) -> tensor<7x4xf32>
  return
}

// -----

//===--- grouped_matmul ---===//

func.func @grouped_matmul_m1_no_bank(%x: tensor<?x4xf32>, %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected at least one bank}}
  %y = "moe.grouped_matmul"(%x, %offsets, %init) <{operandSegmentSizes = array<i32: 1, 0, 0, 0, 1, 1>}> ({})
    : (tensor<?x4xf32>, tensor<3xindex>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m2_offsets(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                     %offsets: tensor<?xindex>, // expected-note {{the offsets are made here}}
                                     %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected a static number of offsets, groups + 1, at least 2}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<?xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m3_groups(%x: tensor<?x4xf32>,
                                    %w: !moe.bank<tensor<3x6x4xf32>>, // expected-note {{the bank is made here}}
                                    %offsets: tensor<3xindex>, // expected-note {{the offsets are made here}}
                                    %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected one matrix per group (2), got 3}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<3x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m4_rank(%x: tensor<?x4xf32>,
                                  %w: !moe.bank<tensor<2x6xf32>>, // expected-note {{the bank is made here}}
                                  %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected banks of rank 3 or, packed, 4}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m4_inner(%x: tensor<?x5xf32>, // expected-note {{the rows are made here}}
                                   %w: !moe.bank<tensor<2x6x4xf32>>, // expected-note {{the bank is made here}}
                                   %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected the rows to have the bank's inner extent 4, got 5}}
  %y = moe.grouped_matmul ins(%x : tensor<?x5xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m4_columns(%x: tensor<?x4xf32>,
                                     %w: !moe.bank<tensor<2x6x4xf32>>, // expected-note {{the bank is made here}}
                                     %offsets: tensor<3xindex>,
                                     %init: tensor<?x?xf32>) { // expected-note {{the init is made here}}
  // expected-error @+1 {{expected the init to have as many columns as the bank has outputs, got ?}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x?xf32>) -> tensor<?x?xf32>
  return
}

// -----

// Two panels of 4 hold 5 to 8 columns.
func.func @grouped_matmul_m4_panels(%x: tensor<?x3xf32>,
                                    %w: !moe.bank<tensor<2x2x3x4xf32>>, // expected-note {{the bank is made here}}
                                    %offsets: tensor<3xindex>,
                                    %init: tensor<?x4xf32>) { // expected-note {{the init is made here}}
  // expected-error @+1 {{expected the init to have as many columns as the bank has outputs, got 4}}
  %y = moe.grouped_matmul ins(%x : tensor<?x3xf32>) banks(%w : !moe.bank<tensor<2x2x3x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @grouped_matmul_m5_rows(%x: tensor<7x4xf32>, // expected-note {{they are made here}}
                                  %w: !moe.bank<tensor<2x6x4xf32>>, %offsets: tensor<3xindex>, %init: tensor<8x6xf32>) {
  // expected-error @+1 {{expected one result row per row or index}}
  %y = moe.grouped_matmul ins(%x : tensor<7x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<8x6xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @grouped_matmul_m6_two_banks(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                       %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected an epilogue that joins the products of the banks and the vectors}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>)
         banks(%w, %w : !moe.bank<tensor<2x6x4xf32>>, !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m7_arguments(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                       %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected the epilogue to take one 'f32' per bank and vector (1)}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @grouped_matmul_m7_yield(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                   %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected the epilogue to yield one 'f32'}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32):
    moe.yield %a, %a : f32, f32
  }
  return
}

// -----

//===--- combine ---===//

func.func @combine_c1_shapes(%rows: tensor<?x4xf32>, %slots: tensor<?x2xindex>,
                             %weights: tensor<?x3xf32>, // expected-note {{the weights are made here}}
                             %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected slots and weights to have one shape}}
  %y = moe.combine ins(%rows : tensor<?x4xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x3xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @combine_c2_tokens(%rows: tensor<?x4xf32>,
                             %slots: tensor<5x2xindex>, // expected-note {{the slots are made here}}
                             %weights: tensor<5x2xf32>, %init: tensor<6x4xf32>) {
  // expected-error @+1 {{expected one result row per token}}
  %y = moe.combine ins(%rows : tensor<?x4xf32>) at(%slots : tensor<5x2xindex>) weights(%weights : tensor<5x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<6x4xf32>) -> tensor<6x4xf32>
  return
}

// -----

func.func @combine_c3_width(%rows: tensor<?x3xf32>, // expected-note {{the rows are made here}}
                            %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>, %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected rows and init to have one width}}
  %y = moe.combine ins(%rows : tensor<?x3xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @combine_c4_result(%rows: tensor<?x4xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>,
                             %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected the result to have the type of the init}}
  %y = moe.combine ins(%rows : tensor<?x4xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x4xf32>) -> tensor<9x4xf32>
  return
}

// -----

func.func @combine_c5_kind(%rows: tensor<?x4xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>, %init: tensor<?x4xf32>) {
  // expected-error @+1 {{expected a kind that adds rows up, got #moe.concat_slots}}
  %y = moe.combine ins(%rows : tensor<?x4xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.concat_slots) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @experts_e8_no_rows(%routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected rows}}
  %y = "moe.experts"(%routing) <{combine = #moe.sum, operandSegmentSizes = array<i32: 0, 1, 0, 0, 0>}> ({
    %e = tensor.empty() : tensor<4x4xf32>
    %r = tensor.cast %e : tensor<4x4xf32> to tensor<?x4xf32>
    moe.yield %r : tensor<?x4xf32>
  }) : (!moe.routing<? x 8, slots = 2>) -> tensor<?x4xf32>
  return
}

// -----

func.func @experts_e9_width(%x: tensor<?x4xf32>,
                            %routing: !moe.routing<? x 8, slots = 3>) { // expected-note {{the routing is made here}}
  // expected-error @+1 {{expected the width of the result (8) to be a multiple of the slots (3)}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 3>)
         combine(#moe.concat_slots) -> tensor<?x8xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e10_count(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>, %b: !moe.bank<tensor<8x4xf32>>) {
  // expected-error @+1 {{expected 'bank_classes' to have one entry per bank (1), got 2}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%b : !moe.bank<tensor<8x4xf32>>) combine(#moe.sum) bank_classes([-1, 0]) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %own: tensor<4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e10_range(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>, %b: !moe.bank<tensor<8x4xf32>>) {
  // expected-error @+1 {{expected bank classes between -1 and 0, got 1}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%b : !moe.bank<tensor<8x4xf32>>) combine(#moe.sum) bank_classes([1]) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>, %own: tensor<4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e2_class(%x: tensor<?x4xf32>,
                            %routing: !moe.routing<? x 3, slots = 2>, // expected-note {{the routing is made here}}
                            %b: !moe.bank<tensor<3x4xf32>>) { // expected-note {{the bank is made here}}
  // expected-error @+1 {{expected banks of 2 experts for class 1, got 3}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 2>)
         banks(%b : !moe.bank<tensor<3x4xf32>>) combine(#moe.sum) classes([0, 1, 1]) bank_classes([1]) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }, {
  ^bb0(%rows: tensor<?x4xf32>, %own: tensor<4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @experts_e5_weights(%x: tensor<?x4xf32>, %routing: !moe.routing<? x 8, slots = 2>) {
  // expected-error @+1 {{expected body arguments of types ('tensor<?x4xf32>', 'tensor<?xf32>'), got ('tensor<?x4xf32>')}}
  %y = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>) with_weights
         combine(#moe.sum) -> tensor<?x4xf32> {
  ^bb0(%rows: tensor<?x4xf32>):
    moe.yield %rows : tensor<?x4xf32>
  }
  return
}

// -----

func.func @grouped_matmul_m6_vectors(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>, %v: !moe.bank<tensor<2x6xf32>>,
                                     %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected an epilogue that joins the products of the banks and the vectors}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         vectors(%v : !moe.bank<tensor<2x6xf32>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @grouped_matmul_m8_type(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                  %v: !moe.bank<tensor<2x6xi8>>, // expected-note {{the vectors are made here}}
                                  %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected vectors of one component of rank 2 of f32, f16 or bf16}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         vectors(%v : !moe.bank<tensor<2x6xi8>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @grouped_matmul_m8_width(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>,
                                   %v: !moe.bank<tensor<2x5xf32>>, // expected-note {{the vectors are made here}}
                                   %offsets: tensor<3xindex>, // expected-note {{the offsets are made here}}
                                   %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected one vector of 6 elements per group (2), got 2 of 5}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         vectors(%v : !moe.bank<tensor<2x5xf32>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    moe.yield %a : f32
  }
  return
}

// -----

func.func @fill_groups_v1_offsets(%v: !moe.bank<tensor<2x5xf32>>,
                             %offsets: tensor<?xindex>, // expected-note {{the offsets are made here}}
                             %init: tensor<?x5xf32>) {
  // expected-error @+1 {{expected a static number of offsets, groups + 1, at least 2}}
  %y = moe.fill_groups ins(%v : !moe.bank<tensor<2x5xf32>>) groups(%offsets : tensor<?xindex>) outs(%init : tensor<?x5xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @fill_groups_v2_groups(%v: !moe.bank<tensor<3x5xf32>>, // expected-note {{the vectors are made here}}
                            %offsets: tensor<3xindex>, // expected-note {{the offsets are made here}}
                            %init: tensor<?x5xf32>) {
  // expected-error @+1 {{expected one vector of 5 elements per group (2), got 3 of 5}}
  %y = moe.fill_groups ins(%v : !moe.bank<tensor<3x5xf32>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x5xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @fill_groups_v2_result(%v: !moe.bank<tensor<2x5xf32>>, %offsets: tensor<3xindex>, %init: tensor<?x5xf32>) {
  // expected-error @+1 {{expected the result to have the type of the init}}
  %y = moe.fill_groups ins(%v : !moe.bank<tensor<2x5xf32>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x5xf32>) -> tensor<9x5xf32>
  return
}
