// RUN: moe-opt %s --moe-decompose-experts --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that a gated expert runs on the rows of all experts: products over the banks, the activation over all rows,
// and the weighted return from zeros.
// CHECK-LABEL: func.func @gated(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[ROUTING:[^:]+]]: !moe.routing<? x 8, slots = 2>
// CHECK-SAME:    %[[GATE:[^:]+]]: !moe.bank<tensor<8x96x64xbf16>>, %[[UP:[^:]+]]: !moe.bank<tensor<8x96x64xbf16>>
// CHECK-SAME:    %[[DOWN:[^:]+]]: !moe.bank<tensor<8x64x96xf32>>
// CHECK:         %[[OFFSETS:.+]], %[[TOKENS:.+]], %[[SLOTS:.+]] = moe.plan %[[ROUTING]]
// CHECK:         %[[COUNT:.+]] = tensor.dim %[[TOKENS]], %{{.+}}
// CHECK:         %{{.+}}, %[[WEIGHTS:.+]] = moe.routing_parts %[[ROUTING]]
// CHECK:         %[[ROWS:.+]] = moe.gather ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] :
// CHECK-NOT:     linalg.fill
// CHECK:         %[[WIDE:.+]] = tensor.empty(%[[COUNT]]) : tensor<?x96xf32>
// CHECK:         %[[G:.+]] = moe.grouped_matmul ins(%[[ROWS]] : tensor<?x64xf32>) banks(%[[GATE]] :
// CHECK-SAME:      groups(%[[OFFSETS]] : tensor<9xindex>) outs(%[[WIDE]] :
// CHECK:         %[[U:.+]] = moe.grouped_matmul ins(%[[ROWS]] : tensor<?x64xf32>) banks(%[[UP]] :
// CHECK:         %[[H:.+]] = linalg.generic
// CHECK-SAME:      ins(%[[G]], %[[U]] :
// CHECK:         %[[OUT:.+]] = moe.grouped_matmul ins(%[[H]] : tensor<?x96xf32>) banks(%[[DOWN]] :
// CHECK:         %[[ZEROS:.+]] = linalg.fill
// CHECK:         %[[Y:.+]] = moe.combine ins(%[[OUT]] : tensor<?x64xf32>) at(%[[SLOTS]] :
// CHECK-SAME:      weights(%[[WEIGHTS]] : tensor<?x2xf32>) kind(#moe.weighted_sum) outs(%[[ZEROS]] :
// CHECK:         return %[[Y]]
func.func @gated(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>,
                 %gate: !moe.bank<tensor<8x96x64xbf16>>, %up: !moe.bank<tensor<8x96x64xbf16>>,
                 %down: !moe.bank<tensor<8x64x96xf32>>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%gate, %up, %down : !moe.bank<tensor<8x96x64xbf16>>, !moe.bank<tensor<8x96x64xbf16>>, !moe.bank<tensor<8x64x96xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %g: tensor<96x64xbf16>, %u: tensor<96x64xbf16>, %d: tensor<64x96xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x96xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x96xf32>) -> tensor<?x96xf32>
    %gated = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%rows, %g : tensor<?x64xf32>, tensor<96x64xbf16>) outs(%z : tensor<?x96xf32>) -> tensor<?x96xf32>
    // Widened by an operation of its own.
    %we = tensor.empty() : tensor<96x64xf32>
    %w = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%u : tensor<96x64xbf16>) outs(%we : tensor<96x64xf32>) {
    ^bb1(%a: bf16, %o: f32):
      %f = arith.extf %a : bf16 to f32
      linalg.yield %f : f32
    } -> tensor<96x64xf32>
    %raised = linalg.generic {indexing_maps = [#xk, #wk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%rows, %w : tensor<?x64xf32>, tensor<96x64xf32>) outs(%z : tensor<?x96xf32>) {
    ^bb1(%a: f32, %b: f32, %o: f32):
      %p = arith.mulf %a, %b : f32
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x96xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x96xf32>, tensor<?x96xf32>) outs(%e : tensor<?x96xf32>) {
    ^bb1(%a: f32, %b: f32, %o: f32):
      %p = arith.mulf %a, %b : f32
      linalg.yield %p : f32
    } -> tensor<?x96xf32>
    %e2 = tensor.empty(%n) : tensor<?x64xf32>
    %z2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<?x64xf32>) -> tensor<?x64xf32>
    %out = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%h, %d : tensor<?x96xf32>, tensor<64x96xf32>) outs(%z2 : tensor<?x64xf32>) -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
#row = affine_map<(d0, d1) -> (d0)>

// Tests static sizes: a bias that each expert has for itself fills its rows, a vector that all share is
// broadcast as it is, and what depends on shared operands alone moves out.
// CHECK-LABEL: func.func @bias(
// CHECK-SAME:    %{{[^:]+}}: tensor<4x64xf32>, %{{[^:]+}}: !moe.routing<4 x 8, slots = 2>
// CHECK-SAME:    %[[BIASES:[^:]+]]: !moe.bank<tensor<8x64xf16>>, %[[SHARED:[^:]+]]: tensor<64xf32>
// CHECK:         %[[OFFSETS:.+]], %{{.+}}, %{{.+}} = moe.plan
// CHECK:         %[[DOUBLED:.+]] = linalg.add ins(%[[SHARED]], %[[SHARED]] :
// CHECK:         %[[P:.+]] = moe.grouped_matmul
// CHECK:         %[[BIAS:.+]] = moe.fill_groups ins(%[[BIASES]] : !moe.bank<tensor<8x64xf16>>) groups(%[[OFFSETS]] : tensor<9xindex>)
// CHECK:         linalg.generic {indexing_maps = [#[[ID:.+]], #[[ID]], #{{.+}}, #[[ID]]]
// CHECK-SAME:      ins(%[[P]], %[[BIAS]], %[[DOUBLED]] : tensor<8x64xf32>, tensor<8x64xf32>, tensor<64xf32>)
// CHECK-NEXT:    ^bb0(%[[PRODUCT:[^:]+]]: f32, %[[OWN:[^:]+]]: f32,
// CHECK-NEXT:      arith.addf %[[PRODUCT]], %[[OWN]]
// CHECK:         moe.combine {{.+}} kind(#moe.sum)
func.func @bias(%x: tensor<4x64xf32>, %routing: !moe.routing<4 x 8, slots = 2>, %w: !moe.bank<tensor<8x64x64xf32>>,
                %b: !moe.bank<tensor<8x64xf16>>, %shared: tensor<64xf32>) -> tensor<4x64xf32> {
  %y = moe.experts rows(%x : tensor<4x64xf32>) routed_by(%routing : !moe.routing<4 x 8, slots = 2>)
         banks(%w, %b : !moe.bank<tensor<8x64x64xf32>>, !moe.bank<tensor<8x64xf16>>) shared(%shared : tensor<64xf32>)
         combine(#moe.sum) -> tensor<4x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %weight: tensor<64x64xf32>, %bias: tensor<64xf16>, %s: tensor<64xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %se = tensor.empty() : tensor<64xf32>
    %doubled = linalg.add ins(%s, %s : tensor<64xf32>, tensor<64xf32>) outs(%se : tensor<64xf32>) -> tensor<64xf32>
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    %p = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%rows, %weight : tensor<?x64xf32>, tensor<64x64xf32>) outs(%z : tensor<?x64xf32>) -> tensor<?x64xf32>
    %out = linalg.generic {indexing_maps = [#id, #column, #column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%p, %bias, %doubled : tensor<?x64xf32>, tensor<64xf16>, tensor<64xf32>) outs(%e : tensor<?x64xf32>) {
    ^bb1(%a: f32, %h: f16, %c: f32, %o: f32):
      %f = arith.extf %h : f16 to f32
      %s1 = arith.addf %a, %f : f32
      %s2 = arith.mulf %s1, %c : f32
      linalg.yield %s2 : f32
    } -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<4x64xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>

// Tests what else treats each row alone: a sum within each row, arithmetic on tensors, columns cut out.
// CHECK-LABEL: func.func @row_by_row(
// CHECK:         %{{.+}}, %[[TOKENS:.+]], %{{.+}} = moe.plan
// CHECK:         %[[COUNT:.+]] = tensor.dim %[[TOKENS]]
// CHECK:         %[[ROWS:.+]] = moe.gather
// CHECK:         %[[LEFT:.+]] = tensor.extract_slice %[[ROWS]][0, 0] [%[[COUNT]], 32] [1, 1]
// CHECK:         %[[SQUARE:.+]] = arith.mulf %[[LEFT]], %[[LEFT]] : tensor<?x32xf32>
// CHECK:         %[[SUM:.+]] = linalg.generic
// CHECK-SAME:      iterator_types = ["parallel", "reduction"]
// CHECK-SAME:      ins(%[[SQUARE]] :
// CHECK:         %[[SCALED:.+]] = linalg.generic
// CHECK-SAME:      ins(%[[LEFT]], %[[SUM]] : tensor<?x32xf32>, tensor<?xf32>)
// CHECK:         moe.combine ins(%[[SCALED]] :
func.func @row_by_row(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x32xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x32xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %left = tensor.extract_slice %rows[0, 0] [%n, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
    %square = arith.mulf %left, %left : tensor<?x32xf32>
    %e = tensor.empty(%n) : tensor<?xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
    %sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%square : tensor<?x32xf32>) outs(%z : tensor<?xf32>) {
    ^bb1(%a: f32, %o: f32):
      %s = arith.addf %a, %o : f32
      linalg.yield %s : f32
    } -> tensor<?xf32>
    %e2 = tensor.empty(%n) : tensor<?x32xf32>
    %out = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%left, %sum : tensor<?x32xf32>, tensor<?xf32>) outs(%e2 : tensor<?x32xf32>) {
    ^bb1(%a: f32, %b: f32, %o: f32):
      %p = arith.mulf %a, %b : f32
      linalg.yield %p : f32
    } -> tensor<?x32xf32>
    moe.yield %out : tensor<?x32xf32>
  }
  return %y : tensor<?x32xf32>
}

// -----

// Tests that a sum over an expert's rows keeps the experts apart.
// CHECK-LABEL: func.func @sums_rows(
// CHECK-NOT:     moe.plan
// CHECK:         moe.experts
#id = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @sums_rows(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<64xf32>) -> tensor<64xf32>
    // expected-remark @below {{experts are computed one by one: 'linalg.generic' sums over the rows}}
    %sum = linalg.generic {indexing_maps = [#id, #column], iterator_types = ["reduction", "parallel"]}
      ins(%rows : tensor<?x64xf32>) outs(%z : tensor<64xf32>) {
    ^bb1(%a: f32, %o: f32):
      %s = arith.addf %a, %o : f32
      linalg.yield %s : f32
    } -> tensor<64xf32>
    %out = linalg.generic {indexing_maps = [#column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%sum : tensor<64xf32>) outs(%rows : tensor<?x64xf32>) {
    ^bb1(%a: f32, %o: f32):
      %s = arith.addf %a, %o : f32
      linalg.yield %s : f32
    } -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that computing with a row's position keeps the experts apart.
// CHECK-LABEL: func.func @position(
// CHECK:         moe.experts
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @position(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    // expected-remark @below {{'linalg.generic' computes with the position of a row}}
    %out = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%rows : tensor<?x64xf32>) {
    ^bb1(%o: f32):
      %i = linalg.index 0 : index
      %j = arith.index_cast %i : index to i32
      %f = arith.sitofp %j : i32 to f32
      linalg.yield %f : f32
    } -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that computing with the number of rows keeps the experts apart.
// CHECK-LABEL: func.func @count(
// CHECK:         moe.experts
#id = affine_map<(d0, d1) -> (d0, d1)>
#scalar = affine_map<(d0, d1) -> ()>
func.func @count(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.weighted_sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    %c0 = arith.constant 0 : index
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    // expected-remark @below {{'arith.index_cast' is not known to treat each row alone}}
    %m = arith.index_cast %n : index to i32
    %f = arith.sitofp %m : i32 to f32
    %out = linalg.generic {indexing_maps = [#scalar, #id], iterator_types = ["parallel", "parallel"]}
      ins(%f : f32) outs(%rows : tensor<?x64xf32>) {
    ^bb1(%a: f32, %o: f32):
      %p = arith.mulf %a, %o : f32
      linalg.yield %p : f32
    } -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

#xk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Tests that a weight used as [K, N] keeps the experts apart.
// CHECK-LABEL: func.func @not_transposed(
// CHECK:         moe.experts
func.func @not_transposed(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>, %w: !moe.bank<tensor<8x64x64xf32>>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         banks(%w : !moe.bank<tensor<8x64x64xf32>>) combine(#moe.weighted_sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %weight: tensor<64x64xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    // expected-remark @below {{'linalg.matmul' reads a weight that is no vector in another way than as the right side of a product}}
    %out = linalg.matmul ins(%rows, %weight : tensor<?x64xf32>, tensor<64x64xf32>) outs(%z : tensor<?x64xf32>) -> tensor<?x64xf32>
    moe.yield %out : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that each row's weight is a row of its own kind, and that several tensors of rows travel together.
// CHECK-LABEL: func.func @weights(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[Z:[^:]+]]: tensor<?x64xf32>, %[[ROUTING:[^:]+]]:
// CHECK:         %{{.+}}, %[[TOKENS:.+]], %[[SLOTS:.+]] = moe.plan %[[ROUTING]]
// CHECK:         %{{.+}}, %[[WEIGHTS:.+]] = moe.routing_parts %[[ROUTING]]
// CHECK:         %[[OWN:.+]] = scf.for
// CHECK:           tensor.extract %[[WEIGHTS]]
// CHECK:         %[[ROWS:.+]] = moe.gather ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] :
// CHECK:         %[[BESIDE:.+]] = moe.gather ins(%[[Z]] : tensor<?x64xf32>) at(%[[TOKENS]] :
// CHECK:         %[[SCALED:.+]] = linalg.generic
// CHECK-SAME:      ins(%[[ROWS]], %[[BESIDE]], %[[OWN]] : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?xf32>)
// CHECK:         moe.combine ins(%[[SCALED]] : tensor<?x64xf32>) at(%[[SLOTS]] :
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func @weights(%x: tensor<?x64xf32>, %z: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x, %z : tensor<?x64xf32>, tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         with_weights combine(#moe.sum) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %beside: tensor<?x64xf32>, %weights: tensor<?xf32>):
    %c0 = arith.constant 0 : index
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x64xf32>
    %scaled = linalg.generic {indexing_maps = [#id, #id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%rows, %beside, %weights : tensor<?x64xf32>, tensor<?x64xf32>, tensor<?xf32>) outs(%e : tensor<?x64xf32>) {
    ^bb1(%a: f32, %b: f32, %w: f32, %o: f32):
      %p = arith.mulf %a, %w : f32
      %s = arith.addf %p, %b : f32
      linalg.yield %s : f32
    } -> tensor<?x64xf32>
    moe.yield %scaled : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that each class runs on its own rows, with its own bank's groups, or with the groups of a bank of all experts
// that the other classes' are empty in; a class without experts leaves nothing behind.
// CHECK-LABEL: func.func @classes(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[ROUTING:[^:]+]]: {{.+}}, %[[ALL:[^:]+]]: !moe.bank<tensor<3x64x64xf32>>
// CHECK-SAME:    %[[OWN:[^:]+]]: !moe.bank<tensor<2x64x64xf32>>
// CHECK:         %[[OFFSETS:.+]], %[[TOKENS:.+]], %{{.+}} = moe.plan %[[ROUTING]]
// CHECK:         %[[BEGIN:.+]] = tensor.extract %[[OFFSETS]][%{{.+}}]
// CHECK:         %[[END:.+]] = tensor.extract %[[OFFSETS]][%{{.+}}]
// CHECK:         %[[BETWEEN:.+]] = arith.subi %[[END]], %[[BEGIN]]
// CHECK:         %[[COUNT:.+]] = arith.minsi %[[BETWEEN]],
// CHECK:         %[[GROUPS:.+]] = tensor.generate
// CHECK:         %[[PART:.+]] = tensor.extract_slice %[[TOKENS]][%[[BEGIN]]] [%[[COUNT]]] [1]
// CHECK:         %[[ROWS:.+]] = moe.gather ins(%[[X]] : tensor<?x64xf32>) at(%[[PART]] :
// CHECK:         %[[P:.+]] = moe.grouped_matmul ins(%[[ROWS]] : tensor<?x64xf32>) banks(%[[ALL]] : {{.+}}) groups(%[[GROUPS]] : tensor<4xindex>)
// CHECK:         %[[FIRST:.+]] = tensor.insert_slice %[[P]] into %{{.+}}[%[[BEGIN]], 0] [%[[COUNT]], 64] [1, 1]
// CHECK:         %[[GROUPS2:.+]] = tensor.generate
// CHECK:         %[[OWN_GROUPS:.+]] = tensor.extract_slice %[[GROUPS2]][1] [3] [1]
// CHECK:         %[[Q:.+]] = moe.grouped_matmul {{.+}} banks(%[[OWN]] : {{.+}}) groups(%[[OWN_GROUPS]] : tensor<3xindex>)
// CHECK:         %[[SECOND:.+]] = tensor.insert_slice %[[Q]] into %[[FIRST]]
// CHECK:         moe.combine ins(%[[SECOND]] :
#xk = affine_map<(m, n, k) -> (m, k)>
#wk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @classes(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 3, slots = 1>, %all: !moe.bank<tensor<3x64x64xf32>>,
                   %own: !moe.bank<tensor<2x64x64xf32>>) -> tensor<?x64xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 1>)
         banks(%all, %own : !moe.bank<tensor<3x64x64xf32>>, !moe.bank<tensor<2x64x64xf32>>)
         combine(#moe.weighted_sum) classes([0, 2, 2]) bank_classes([-1, 2]) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %w: tensor<64x64xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    %p = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%rows, %w : tensor<?x64xf32>, tensor<64x64xf32>) outs(%z : tensor<?x64xf32>) -> tensor<?x64xf32>
    moe.yield %p : tensor<?x64xf32>
  }, {
  ^bb0(%rows: tensor<?x64xf32>, %w: tensor<64x64xf32>):
    moe.yield %rows : tensor<?x64xf32>
  }, {
  ^bb0(%rows: tensor<?x64xf32>, %w: tensor<64x64xf32>, %v: tensor<64x64xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %rows, %c0 : tensor<?x64xf32>
    %e = tensor.empty(%n) : tensor<?x64xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
    %p = linalg.matmul indexing_maps = [#xk, #wk, #mn] ins(%rows, %v : tensor<?x64xf32>, tensor<64x64xf32>) outs(%z : tensor<?x64xf32>) -> tensor<?x64xf32>
    moe.yield %p : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that classes that take turns stay.
// CHECK-LABEL: func.func @mixed_classes(
// CHECK:         moe.experts
func.func @mixed_classes(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 3, slots = 1>) -> tensor<?x64xf32> {
  // expected-remark @below {{experts are computed one by one: 'moe.experts' has classes whose experts do not follow one another}}
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 3, slots = 1>)
         combine(#moe.weighted_sum) classes([0, 1, 0]) -> tensor<?x64xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    moe.yield %rows : tensor<?x64xf32>
  }, {
  ^bb0(%rows: tensor<?x64xf32>):
    %e = math.exp %rows : tensor<?x64xf32>
    moe.yield %e : tensor<?x64xf32>
  }
  return %y : tensor<?x64xf32>
}

// -----

// Tests that what experts give side by side is combined as if each pair were a token, and put side by side.
// CHECK-LABEL: func.func @apart(
// CHECK:         %{{.+}}, %{{.+}}, %[[SLOTS:.+]] = moe.plan
// CHECK:         %[[ROWS:.+]] = moe.gather
// CHECK:         %[[FLAT:.+]] = tensor.collapse_shape %[[SLOTS]] {{\[\[}}0, 1]]
// CHECK:         %[[PAIRS:.+]] = tensor.expand_shape %[[FLAT]] {{\[\[}}0, 1]]
// CHECK:         %[[EACH:.+]] = moe.combine ins(%[[ROWS]] : tensor<?x64xf32>) at(%[[PAIRS]] : tensor<?x1xindex>) {{.+}} kind(#moe.sum)
// CHECK:         %[[APART:.+]] = tensor.expand_shape %[[EACH]] {{\[\[}}0, 1], [2]]
// CHECK:         %[[BESIDE:.+]] = tensor.collapse_shape %[[APART]] {{\[\[}}0], [1, 2]] : tensor<?x2x64xf32> into tensor<?x128xf32>
// CHECK:         return %[[BESIDE]]
func.func @apart(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x128xf32> {
  %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
         combine(#moe.concat_slots) -> tensor<?x128xf32> {
  ^bb0(%rows: tensor<?x64xf32>):
    moe.yield %rows : tensor<?x64xf32>
  }
  return %y : tensor<?x128xf32>
}

// -----

// Tests that experts with state stay.
// CHECK-LABEL: func.func @state(
// CHECK:         moe.experts
func.func @state(%x: tensor<?x64xf32>, %routing: !moe.routing<? x 2, slots = 1>, %s: tensor<2x4xf32>) -> tensor<?x64xf32> {
  // expected-remark @below {{experts are computed one by one: 'moe.experts' has state}}
  %y, %t = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 2, slots = 1>)
         state(%s : tensor<2x4xf32>) combine(#moe.weighted_sum) -> tensor<?x64xf32>, tensor<2x4xf32> {
  ^bb0(%rows: tensor<?x64xf32>, %old: tensor<4xf32>):
    moe.yield %rows, %old : tensor<?x64xf32>, tensor<4xf32>
  }
  return %y : tensor<?x64xf32>
}
