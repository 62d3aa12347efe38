// RUN: moe-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul),canonicalize,cse)" | FileCheck %s
// RUN: moe-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul),one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},canonicalize,cse,canonicalize)" | FileCheck %s --check-prefix=BUFFERS
// RUN: moe-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(moe-tile-grouped-matmul{print-decisions}))" -o /dev/null 2>&1 | FileCheck %s --check-prefix=DECISION

// Tests the loop over chunks and items, and one kernel per class: a single row streams the weights of four panels, few
// rows run the low tile, full items run tiles of falling height.

// CHECK-LABEL: func.func @gathered
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[AT:[^:]+]]: tensor<?xindex>, %[[GATE:[^:]+]]: tensor<8x8x64x32xf32>, %{{[^:]+}}: tensor<8x8x64x32xf32>
// CHECK-NOT:     tensor<?x64xf32>
// CHECK:         %[[H:.+]] = scf.forall (%{{.+}}, %[[ITEM:.+]]) in (2, %{{.+}}) shared_outs(%[[OUT:.+]] = %{{.+}}) -> (tensor<?x256xf32>)
// CHECK:           %[[GROUP:.+]] = tensor.extract %[[LIST:.+]][%[[ITEM]], %{{.+}}] : tensor<?x4xindex>
// CHECK:           %[[BEGIN:.+]] = tensor.extract %[[LIST]][%[[ITEM]], %{{.+}}] : tensor<?x4xindex>
// CHECK:           %[[ROWS:.+]] = tensor.extract %[[LIST]][%[[ITEM]], %{{.+}}] : tensor<?x4xindex>
// CHECK:           %[[CLASS:.+]] = tensor.extract %[[LIST]][%[[ITEM]], %{{.+}}] : tensor<?x4xindex>
// CHECK:           %[[PART:.+]] = scf.index_switch %[[CLASS]] -> tensor<?x128xf32>
// CHECK:           case 0
// CHECK:             %[[NUMBER:.+]] = tensor.extract %[[AT]][%[[BEGIN]]]
// CHECK:             %[[UPPER:.+]] = arith.minsi %[[NUMBER]], %{{.+}}
// CHECK:             %[[TOKEN:.+]] = arith.maxsi %[[UPPER]], %{{.+}}
// CHECK:             %[[ROW:.+]] = tensor.extract_slice %[[X]][%[[TOKEN]], 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
// CHECK:             %[[PANELS:.+]] = tensor.extract_slice %[[GATE]][%[[GROUP]], %{{.+}}, 0, 0] [1, 4, 64, 32]
// CHECK:             linalg.generic {{.+}} ins(%[[ROW]], %[[PANELS]] : tensor<64xf32>, tensor<4x64x32xf32>) outs(%{{.+}} : tensor<4x32xf32>)
// CHECK:           case 1
// CHECK-NOT:         tensor<8x32xf32>
// CHECK:             linalg.generic {{.+}} outs(%{{.+}} : tensor<4x32xf32>)
// CHECK:           default
// CHECK:             linalg.generic {{.+}} ins(%{{.+}}, %{{.+}} : tensor<12x64xf32>, tensor<64x32xf32>) outs(%{{.+}} : tensor<12x32xf32>)
// CHECK:             linalg.generic {{.+}} outs(%{{.+}} : tensor<8x32xf32>)
// CHECK:             linalg.generic {{.+}} outs(%{{.+}} : tensor<4x32xf32>)
// CHECK:             arith.maximumf
// CHECK:           tensor.parallel_insert_slice %[[PART]] into %[[OUT]][%[[BEGIN]], %{{.+}}] [%[[ROWS]], 128]
// CHECK:         return %[[H]]

// Tests that the result is computed in place: after bufferisation nothing but single rows is copied, and nothing of
// dynamic size is allocated by an item.

// BUFFERS-LABEL: func.func @gathered
// BUFFERS:         scf.forall
// BUFFERS-NOT:     memref.alloc(%
// BUFFERS-NOT:     memref.copy
// BUFFERS:         memref.copy %{{.+}}, %{{.+}} : memref<1x64xf32, {{.+}}> to memref<1x64xf32
// BUFFERS-NOT:     memref.alloc(%
// BUFFERS-NOT:     memref.copy
// BUFFERS:         memref.copy %{{.+}}, %{{.+}} : memref<1x64xf32, {{.+}}> to memref<1x64xf32
// BUFFERS-NOT:     memref.alloc(%
// BUFFERS-NOT:     memref.copy
// BUFFERS:         return

// DECISION: remark: 8 groups x [256, 64] x 2 banks of 4 bytes: tiles 12,8,4 x 32, single row 1 x 128, few rows up to 4, items of 24 to 96 rows x 128 columns, K blocks of 64 (few: 64)

module attributes {moe.target = #moe.cpu<"znver5", "+avx512f", vectorBits = 512, l1Bytes = 49152, l2Bytes = 1048576>} {
  func.func @gathered(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %gate: tensor<8x8x64x32xf32>,
                      %up: tensor<8x8x64x32xf32>, %offsets: tensor<9xindex>,
                      %init: tensor<?x256xf32> {bufferization.writable = true}) -> tensor<?x256xf32> {
    %g = moe.make_bank %gate : tensor<8x8x64x32xf32> -> !moe.bank<tensor<8x8x64x32xf32>>
    %u = moe.make_bank %up : tensor<8x8x64x32xf32> -> !moe.bank<tensor<8x8x64x32xf32>>
    %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
           banks(%g, %u : !moe.bank<tensor<8x8x64x32xf32>>, !moe.bank<tensor<8x8x64x32xf32>>)
           groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x256xf32>) -> tensor<?x256xf32> {
    ^bb0(%a: f32, %b: f32):
      %m = arith.maximumf %a, %b : f32
      moe.yield %m : f32
    }
    return %h : tensor<?x256xf32>
  }
}

// -----

// Tests tiles of half a panel for 256-bit vectors, a last panel that is not full, weights widened in the product, and
// sums that continue over blocks of K.

// CHECK-LABEL: func.func @narrow_long
// CHECK:         scf.forall (%{{.+}}, %{{.+}}) in (2, %{{.+}})
// CHECK:           scf.index_switch %{{.+}} -> tensor<?x?xf32>
// CHECK:           default
// CHECK:             %[[BLOCK:.+]] = tensor.extract_slice %{{.+}} to tensor<?x16xbf16>
// CHECK:             linalg.generic {{.+}} ins(%{{.+}}, %[[BLOCK]] : tensor<6x?xf32>, tensor<?x16xbf16>) outs(%{{.+}} : tensor<6x16xf32>)
// CHECK:               arith.extf
// CHECK:             linalg.generic {{.+}} outs(%{{.+}} : tensor<3x16xf32>)

// DECISION: remark: 2 groups x [150, 1000] x 1 banks of 2 bytes: tiles 6,3 x 16, single row 1 x 64, few rows up to 3, items of 12 to 90 rows x 128 columns, K blocks of 336 (few: 1000)

module attributes {moe.target = #moe.cpu<"haswell", "+avx2", vectorBits = 256, l1Bytes = 32768, l2Bytes = 262144>} {
  func.func @narrow_long(%x: tensor<?x1000xf32>, %w: tensor<2x5x1000x32xbf16>, %offsets: tensor<3xindex>,
                         %init: tensor<?x150xf32>) -> tensor<?x150xf32> {
    %b = moe.make_bank %w : tensor<2x5x1000x32xbf16> -> !moe.bank<tensor<2x5x1000x32xbf16>>
    %h = moe.grouped_matmul ins(%x : tensor<?x1000xf32>) banks(%b : !moe.bank<tensor<2x5x1000x32xbf16>>)
           groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x150xf32>) -> tensor<?x150xf32>
    return %h : tensor<?x150xf32>
  }
}

// -----

// Tests that a product inside a parallel loop runs serially.

// CHECK-LABEL: func.func @nested
// CHECK:         scf.forall
// CHECK-NOT:     scf.forall (
// CHECK:         scf.index_switch
// CHECK-NOT:     scf.forall (
// CHECK:         return

func.func @nested(%x: tensor<?x64xf32>, %w: tensor<1x2x64x32xf32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x64xf32>
  %blocks = arith.ceildivsi %tokens, %c16 : index
  %b = moe.make_bank %w : tensor<1x2x64x32xf32> -> !moe.bank<tensor<1x2x64x32xf32>>
  %h = scf.forall (%i) in (%blocks) shared_outs(%o = %init) -> tensor<?x64xf32> {
    %begin = arith.muli %i, %c16 : index
    %left = arith.subi %tokens, %begin : index
    %rows = arith.minsi %left, %c16 : index
    %tile = tensor.extract_slice %x[%begin, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> to tensor<?x64xf32>
    %offsets = tensor.from_elements %c0, %rows : tensor<2xindex>
    %out = tensor.extract_slice %o[%begin, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> to tensor<?x64xf32>
    %p = moe.grouped_matmul ins(%tile : tensor<?x64xf32>) banks(%b : !moe.bank<tensor<1x2x64x32xf32>>)
           groups(%offsets : tensor<2xindex>) outs(%out : tensor<?x64xf32>) -> tensor<?x64xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %p into %o[%begin, 0] [%rows, 64] [1, 1] : tensor<?x64xf32> into tensor<?x64xf32>
    }
  }
  return %h : tensor<?x64xf32>
}
