// moe.grouped_matmul: a loop over groups, K ascending in one chain of fused multiply-adds.
// RUN: moe-opt %s --convert-moe-to-linalg --cse | FileCheck %s

// CHECK: #[[$MK:.+]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK: #[[$NK:.+]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK: #[[$MN:.+]] = affine_map<(d0, d1, d2) -> (d0, d1)>

// CHECK-LABEL: @plain
// CHECK-SAME: %[[ROWS:[^:]+]]: tensor<?x4xf32>, %[[DATA:[^:]+]]: tensor<2x6x4xbf16>, %[[OFFSETS:[^:]+]]: tensor<3xindex>, %[[INIT:[^:]+]]: tensor<?x6xf32>
func.func @plain(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xbf16>>, %offsets: tensor<3xindex>,
                 %init: tensor<?x6xf32>) -> tensor<?x6xf32> {
  // CHECK: %[[RESULT:[^ :]+]] = scf.for %[[GROUP:[^ ]+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args(%[[OUT:.+]] = %[[INIT]])
  // CHECK: %[[BEGIN:.+]] = tensor.extract %[[OFFSETS]][%[[GROUP]]]
  // CHECK: %[[END:.+]] = tensor.extract %[[OFFSETS]]
  // CHECK: %[[COUNT:.+]] = arith.subi %[[END]], %[[BEGIN]]
  // CHECK: %[[PART:.+]] = tensor.extract_slice %[[ROWS]][%[[BEGIN]], 0] [%[[COUNT]], 4] [1, 1]
  // CHECK: %[[MATRIX:.+]] = tensor.extract_slice %[[DATA]][%[[GROUP]], 0, 0] [1, 6, 4] [1, 1, 1] : tensor<2x6x4xbf16> to tensor<6x4xbf16>
  // CHECK: %[[ZEROS:.+]] = linalg.fill
  // CHECK: %[[PRODUCT:.+]] = linalg.generic {indexing_maps = [#[[$MK]], #[[$NK]], #[[$MN]]], iterator_types = ["parallel", "parallel", "reduction"]}
  // CHECK-SAME: ins(%[[PART]], %[[MATRIX]] : tensor<?x4xf32>, tensor<6x4xbf16>) outs(%[[ZEROS]] : tensor<?x6xf32>)
  // CHECK-NEXT: ^bb0(%[[ROW:.+]]: f32, %[[STORED:.+]]: bf16, %[[SUM:.+]]: f32):
  // CHECK-NEXT: %[[WEIGHT:.+]] = arith.extf %[[STORED]] : bf16 to f32
  // CHECK-NEXT: %[[NEXT:.+]] = math.fma %[[ROW]], %[[WEIGHT]], %[[SUM]] : f32
  // CHECK-NEXT: linalg.yield %[[NEXT]] : f32
  // CHECK: %[[WRITTEN:.+]] = linalg.generic {{.+}} ins(%[[PRODUCT]] : tensor<?x6xf32>)
  // CHECK: %[[INSERTED:.+]] = tensor.insert_slice %[[WRITTEN]] into %[[OUT]][%[[BEGIN]], 0] [%[[COUNT]], 6] [1, 1]
  // CHECK: scf.yield %[[INSERTED]]
  // CHECK: return %[[RESULT]]
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xbf16>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Tests that rows are gathered a group at a time, that each bank has its product, and that the epilogue joins them
// with a value from outside.
// CHECK-LABEL: @epilogue
// CHECK-SAME: %[[TOKENS:[^:]+]]: tensor<?xindex>, %[[GATE:[^:]+]]: tensor<2x6x4xf32>, %[[UP:[^:]+]]: tensor<2x6x4xf32>
// CHECK-SAME: %[[LIMIT:[^:]+]]: f32
func.func @epilogue(%x: tensor<?x4xf32>, %tokens: tensor<?xindex>, %gate: !moe.bank<tensor<2x6x4xf32>>,
                    %up: !moe.bank<tensor<2x6x4xf32>>, %offsets: tensor<3xindex>, %init: tensor<?x6xf32>, %limit: f32)
    -> tensor<?x6xf32> {
  // CHECK: tensor.extract_slice %[[TOKENS]]
  // CHECK: scf.for
  // CHECK: tensor.extract_slice %[[GATE]]
  // CHECK: %[[G:.+]] = linalg.generic {{.+}} "reduction"]}
  // CHECK: tensor.extract_slice %[[UP]]
  // CHECK: %[[U:.+]] = linalg.generic {{.+}} "reduction"]}
  // CHECK: linalg.generic {{.+}} ins(%[[G]], %[[U]] : tensor<?x6xf32>, tensor<?x6xf32>)
  // CHECK-NEXT: ^bb0(%[[A:.+]]: f32, %[[B:.+]]: f32, %{{.+}}: f32):
  // CHECK-NEXT: %[[CUT:.+]] = arith.minimumf %[[A]], %[[LIMIT]] : f32
  // CHECK-NEXT: %[[JOINED:.+]] = arith.mulf %[[CUT]], %[[B]] : f32
  // CHECK-NEXT: linalg.yield %[[JOINED]] : f32
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) at(%tokens : tensor<?xindex>)
    banks(%gate, %up : !moe.bank<tensor<2x6x4xf32>>, !moe.bank<tensor<2x6x4xf32>>)
    groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    %cut = arith.minimumf %a, %limit : f32
    %p = arith.mulf %cut, %b : f32
    moe.yield %p : f32
  }
  return %y : tensor<?x6xf32>
}

// Tests that panels are multiplied as they lie and the padding columns are cut off.
// CHECK-LABEL: @packed
// CHECK: %[[PANELS:.+]] = linalg.generic {{.+}} iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// CHECK: %[[FLAT:.+]] = tensor.collapse_shape %[[PANELS]] {{\[}}[0], [1, 2]] : tensor<?x2x4xf32> into tensor<?x8xf32>
// CHECK: tensor.extract_slice %[[FLAT]][0, 0] [%{{.+}}, 7] [1, 1] : tensor<?x8xf32> to tensor<?x7xf32>
func.func @packed(%x: tensor<?x5xf32>, %w: !moe.bank<tensor<3x2x5x4xf32>>, %offsets: tensor<4xindex>,
                  %init: tensor<?x7xf32>) -> tensor<?x7xf32> {
  %y = moe.grouped_matmul ins(%x : tensor<?x5xf32>) banks(%w : !moe.bank<tensor<3x2x5x4xf32>>)
    groups(%offsets : tensor<4xindex>) outs(%init : tensor<?x7xf32>) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

// Tests that each group's vector takes part in the epilogue, and that it alone can fill the group's rows.
// CHECK-LABEL: @vectors
// CHECK-SAME: %[[BIAS:[^:]+]]: tensor<2x6xf16>, %{{[^:]+}}: tensor<3xindex>
// CHECK: scf.for %[[GROUP:[^ ]+]] =
// CHECK: %[[FILLED:.+]] = tensor.extract_slice %[[BIAS]][%[[GROUP]], 0] [1, 6] [1, 1] : tensor<2x6xf16> to tensor<6xf16>
// CHECK: linalg.generic {{.+}} ins(%[[FILLED]] : tensor<6xf16>)
// CHECK: arith.extf
// CHECK: scf.for %[[INDEX:[^ ]+]] =
// CHECK: math.fma
// CHECK: %[[OWN:.+]] = tensor.extract_slice %[[BIAS]][%[[INDEX]], 0] [1, 6] [1, 1]
// CHECK: linalg.generic {{.+}} ins(%{{.+}}, %[[OWN]] : tensor<?x6xf32>, tensor<6xf16>)
// CHECK-NEXT: ^bb0(%[[P:[^:]+]]: f32, %[[B:[^:]+]]: f16,
// CHECK: %[[WIDE:.+]] = arith.extf %[[B]]
// CHECK: arith.addf %[[P]], %[[WIDE]]
func.func @vectors(%x: tensor<?x4xf32>, %w: !moe.bank<tensor<2x6x4xf32>>, %v: !moe.bank<tensor<2x6xf16>>, %offsets: tensor<3xindex>,
                   %init: tensor<?x6xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>) {
  %rows = moe.fill_groups ins(%v : !moe.bank<tensor<2x6xf16>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xf32>>)
         vectors(%v : !moe.bank<tensor<2x6xf16>>) groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    moe.yield %s : f32
  }
  return %rows, %y : tensor<?x6xf32>, tensor<?x6xf32>
}
