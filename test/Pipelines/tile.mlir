// RUN: moe-opt %s --moe-tile | FileCheck %s
// RUN: moe-opt %s --pass-pipeline="builtin.module(moe-tile{force-class=few print-decisions})" 2>&1 | FileCheck %s --check-prefix=FORCED

// Tests the stage on a layer as the optimiser leaves it: weights are packed and views of the parameters, the gathered rows
// never exist as a whole, the products are two loops over work lists, heavy groups first, and the combine is one more.

// FORCED: remark: 8 groups x [96, 64] x 2 banks of 4 bytes: {{.+}}, only class few
// FORCED: remark: 8 groups x [64, 96] x 1 banks of 4 bytes: {{.+}}, only class few
// FORCED-LABEL: func.func @layer
// FORCED-NOT:     scf.index_switch
// FORCED:         return

// CHECK:       ml_program.global private @gate(#moe.stack<[#moe.panels<#moe.source<"g0", tensor<96x64xf32>>, width = 32>,
// CHECK-LABEL: func.func @layer
// CHECK-SAME:    %{{.+}}: memref<?xi8> {moe.name = "parameters", moe.role = "parameters"}, %[[X:[^:]+]]: tensor<?x64xf32>
// CHECK-NOT:     moe.
// CHECK:         memref.view {{.+}} : memref<?xi8> to memref<8x3x64x32xf32>
// CHECK:         math.ctlz
// CHECK:         scf.forall (%{{.+}}, %{{.+}}) in (1, %{{.+}}) shared_outs(%{{.+}} = %{{.+}}) -> (tensor<?x96xf32>)
// CHECK:           scf.index_switch
// CHECK:             tensor.extract_slice %[[X]][%{{.+}}, 0] [1, 64] [1, 1] : tensor<?x64xf32> to tensor<64xf32>
// CHECK:         math.ctlz
// CHECK:         scf.forall (%{{.+}}, %{{.+}}) in (1, %{{.+}}) shared_outs(%{{.+}} = %{{.+}}) -> (tensor<?x64xf32>)
// CHECK:           scf.index_switch
// CHECK:         scf.forall (%{{.+}}) = (0) to (%{{.+}}) step (8)
// CHECK-NOT:     scf.forall (
// CHECK:         return

#g = #moe.stack<[#moe.source<"g0", tensor<96x64xf32>>, #moe.source<"g1", tensor<96x64xf32>>, #moe.source<"g2", tensor<96x64xf32>>, #moe.source<"g3", tensor<96x64xf32>>, #moe.source<"g4", tensor<96x64xf32>>, #moe.source<"g5", tensor<96x64xf32>>, #moe.source<"g6", tensor<96x64xf32>>, #moe.source<"g7", tensor<96x64xf32>>]>
ml_program.global private @gate(#moe.bank_recipe<[#g]>) : !moe.bank<tensor<8x96x64xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<8x96x64xf32>>]>) : !moe.bank<tensor<8x96x64xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<8x64x96xf32>>]>) : !moe.bank<tensor<8x64x96xf32>>

func.func @layer(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<8x96x64xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<8x96x64xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<8x64x96xf32>>
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  %rows = tensor.dim %tokens, %c0 : tensor<?xindex>
  %e0 = tensor.empty(%rows) : tensor<?x96xf32>
  %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
         banks(%gate, %up : !moe.bank<tensor<8x96x64xf32>>, !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%e0 : tensor<?x96xf32>) -> tensor<?x96xf32> {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    moe.yield %p : f32
  }
  %e1 = tensor.empty(%rows) : tensor<?x64xf32>
  %o = moe.grouped_matmul ins(%h : tensor<?x96xf32>) banks(%down : !moe.bank<tensor<8x64x96xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%e1 : tensor<?x64xf32>) -> tensor<?x64xf32>
  %count = tensor.dim %x, %c0 : tensor<?x64xf32>
  %e2 = tensor.empty(%count) : tensor<?x64xf32>
  %init = linalg.fill ins(%zero : f32) outs(%e2 : tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = moe.combine ins(%o : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
