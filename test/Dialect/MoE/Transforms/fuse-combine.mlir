// RUN: moe-opt %s --moe-fuse-combine --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s

// Tests that the combine starts from the residual and lands in its buffer.
// CHECK-LABEL: func.func @into_residual(
// CHECK-SAME:    %[[ROWS:[^:]+]]: tensor<?x64xf32>, %{{[^:]+}}: tensor<?x2xindex>, %{{[^:]+}}: tensor<?x2xf32>
// CHECK-SAME:    %[[RESIDUAL:[^:]+]]: tensor<?x64xf32>
// CHECK:         %[[SUM:.+]] = moe.combine ins(%[[ROWS]] :
// CHECK-SAME:      outs(%[[RESIDUAL]] : tensor<?x64xf32>)
// CHECK-NOT:     linalg.add
// CHECK:         return %[[SUM]]
func.func @into_residual(%rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>, %weights: tensor<?x2xf32>,
                         %residual: tensor<?x64xf32>, %tokens: index) -> tensor<?x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty(%tokens) : tensor<?x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %routed = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
              kind(#moe.weighted_sum) outs(%zeros : tensor<?x64xf32>) -> tensor<?x64xf32>
  %sum = linalg.add ins(%routed, %residual : tensor<?x64xf32>, tensor<?x64xf32>) outs(%residual : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %sum : tensor<?x64xf32>
}

// -----

// Tests the form whose addition reads what it writes into.
#id = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @adds_to_its_output(
// CHECK-SAME:    %[[RESIDUAL:[^:]+]]: tensor<4x64xf32>
// CHECK:         %[[SUM:.+]] = moe.combine
// CHECK-SAME:      kind(#moe.sum) outs(%[[RESIDUAL]] :
// CHECK:         return %[[SUM]]
func.func @adds_to_its_output(%residual: tensor<4x64xf32>, %rows: tensor<8x64xf32>, %slots: tensor<4x2xindex>,
                              %weights: tensor<4x2xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.sum) outs(%zeros : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%routed : tensor<4x64xf32>) outs(%residual : tensor<4x64xf32>) {
  ^bb0(%r: f32, %x: f32):
    %s = arith.addf %x, %r : f32
    linalg.yield %s : f32
  } -> tensor<4x64xf32>
  return %sum : tensor<4x64xf32>
}

// -----

// Tests that what the shared experts gave, computed after the routed ones, becomes the start, and that the addition
// to the residual stays outside.
// CHECK-LABEL: func.func @shared_then_residual(
// CHECK-SAME:    %[[RESIDUAL:[^:]+]]: tensor<?x64xf32>
// CHECK:         %[[SHARED:.+]] = math.exp
// CHECK:         %[[BOTH:.+]] = moe.combine
// CHECK-SAME:      outs(%[[SHARED]] :
// CHECK:         linalg.add ins(%[[RESIDUAL]], %[[BOTH]] :
func.func @shared_then_residual(%residual: tensor<?x64xf32>, %rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>,
                                %weights: tensor<?x2xf32>, %tokens: index) -> tensor<?x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty(%tokens) : tensor<?x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %routed = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
              kind(#moe.weighted_sum) outs(%zeros : tensor<?x64xf32>) -> tensor<?x64xf32>
  %shared = math.exp %residual : tensor<?x64xf32>
  %both = linalg.add ins(%routed, %shared : tensor<?x64xf32>, tensor<?x64xf32>) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %sum = linalg.add ins(%residual, %both : tensor<?x64xf32>, tensor<?x64xf32>) outs(%residual : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %sum : tensor<?x64xf32>
}

// -----

// Tests that a result with a second reader stays.
// CHECK-LABEL: func.func @two_readers(
// CHECK:         linalg.fill
// CHECK:         moe.combine
// CHECK:         linalg.add
func.func @two_readers(%residual: tensor<4x64xf32>, %rows: tensor<8x64xf32>, %slots: tensor<4x2xindex>,
                       %weights: tensor<4x2xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  // expected-remark @below {{its result has several readers}}
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.sum) outs(%zeros : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.add ins(%routed, %residual : tensor<4x64xf32>, tensor<4x64xf32>) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %sum, %routed : tensor<4x64xf32>, tensor<4x64xf32>
}

// -----

// Tests that a combine that starts from something is left alone.
// CHECK-LABEL: func.func @starts_elsewhere(
// CHECK:         moe.combine
// CHECK:         linalg.add
func.func @starts_elsewhere(%residual: tensor<4x64xf32>, %rows: tensor<8x64xf32>, %slots: tensor<4x2xindex>,
                            %weights: tensor<4x2xf32>) -> tensor<4x64xf32> {
  // expected-remark @below {{it starts from something else than zeros}}
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.sum) outs(%residual : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.add ins(%routed, %residual : tensor<4x64xf32>, tensor<4x64xf32>) outs(%residual : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %sum : tensor<4x64xf32>
}

// -----

// Tests that a sum of the result with itself is no addition of another tensor.
// CHECK-LABEL: func.func @doubled(
// CHECK:         linalg.fill
// CHECK:         linalg.add
func.func @doubled(%rows: tensor<8x64xf32>, %slots: tensor<4x2xindex>, %weights: tensor<4x2xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  // expected-remark @below {{its result is not added to another tensor}}
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.sum) outs(%zeros : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.add ins(%routed, %routed : tensor<4x64xf32>, tensor<4x64xf32>) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %sum : tensor<4x64xf32>
}

// -----

// Tests that a sum written into a third tensor stays an operation of its own.
// CHECK-LABEL: func.func @third_tensor(
// CHECK:         linalg.fill
// CHECK:         linalg.add
func.func @third_tensor(%residual: tensor<4x64xf32>, %target: tensor<4x64xf32>, %rows: tensor<8x64xf32>,
                        %slots: tensor<4x2xindex>, %weights: tensor<4x2xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  // expected-remark @below {{the sum is written into a third tensor}}
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.sum) outs(%zeros : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.add ins(%routed, %residual : tensor<4x64xf32>, tensor<4x64xf32>) outs(%target : tensor<4x64xf32>) -> tensor<4x64xf32>
  return %sum : tensor<4x64xf32>
}

// -----

// Tests that an operation which computes what it adds is split before the addition.
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
// CHECK-LABEL: func.func @gated_shared(
// CHECK-SAME:    %[[SHARED:[^:]+]]: tensor<?x64xf32>, %[[GATE:[^:]+]]: tensor<?xf32>
// CHECK-NOT:     linalg.fill
// CHECK:         %[[GATED:.+]] = linalg.generic
// CHECK-SAME:      ins(%[[SHARED]], %[[GATE]] :
// CHECK:           arith.mulf
// CHECK-NOT:       arith.addf
// CHECK:         %[[SUM:.+]] = moe.combine
// CHECK-SAME:      outs(%[[GATED]] :
// CHECK:         return %[[SUM]]
func.func @gated_shared(%shared: tensor<?x64xf32>, %gate: tensor<?xf32>, %rows: tensor<?x64xf32>, %slots: tensor<?x2xindex>,
                        %weights: tensor<?x2xf32>, %tokens: index) -> tensor<?x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty(%tokens) : tensor<?x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x64xf32>) -> tensor<?x64xf32>
  %routed = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
              kind(#moe.weighted_sum) outs(%zeros : tensor<?x64xf32>) -> tensor<?x64xf32>
  %sum = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%shared, %gate : tensor<?x64xf32>, tensor<?xf32>) outs(%routed : tensor<?x64xf32>) {
  ^bb0(%s: f32, %g: f32, %r: f32):
    %gated = arith.mulf %g, %s : f32
    %both = arith.addf %r, %gated : f32
    linalg.yield %both : f32
  } -> tensor<?x64xf32>
  return %sum : tensor<?x64xf32>
}

// -----

// Tests that an operation whose addend depends on the result itself is left alone.
#id = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @depends_on_result(
// CHECK:         linalg.fill
// CHECK:         moe.combine
// CHECK:         linalg.generic
func.func @depends_on_result(%shared: tensor<4x64xf32>, %rows: tensor<8x64xf32>, %slots: tensor<4x2xindex>,
                             %weights: tensor<4x2xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x64xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x64xf32>) -> tensor<4x64xf32>
  // expected-remark @below {{its result is not added to another tensor}}
  %routed = moe.combine ins(%rows : tensor<8x64xf32>) at(%slots : tensor<4x2xindex>) weights(%weights : tensor<4x2xf32>)
              kind(#moe.weighted_sum) outs(%zeros : tensor<4x64xf32>) -> tensor<4x64xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%shared : tensor<4x64xf32>) outs(%routed : tensor<4x64xf32>) {
  ^bb0(%s: f32, %r: f32):
    %product = arith.mulf %r, %s : f32
    %both = arith.addf %r, %product : f32
    linalg.yield %both : f32
  } -> tensor<4x64xf32>
  return %sum : tensor<4x64xf32>
}
