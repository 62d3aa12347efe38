// RUN: moe-opt %s -moe-gpu-hopper-kernel="k=128 columns=128 tile-n=16 gathered=true" | FileCheck %s --check-prefix=GATHERED
// RUN: moe-opt %s -moe-gpu-hopper-kernel="k=128 columns=96 tile-n=64 banks=2 epilogue=product_of_both out-bits=32" | FileCheck %s --check-prefix=GATED
// RUN: moe-opt %s -moe-gpu-hopper-kernel="k=128 columns=128 tile-n=256 gathered=true" | FileCheck %s --check-prefix=WIDE
// RUN: moe-opt %s -moe-gpu-hopper-kernel="experts=7 tile-n=24 index-bits=64" | FileCheck %s --check-prefix=TILES

func.func private @product_of_both(%g: f32, %u: f32) -> f32 {
  %r = arith.mulf %g, %u : f32
  return %r : f32
}

// Tests the order of a gathering producer: free stage, weights, copies, then for an older stage wait, fence, arrive.
// GATHERED-LABEL: gpu.module @kernels
// GATHERED: llvm.mlir.global external @moe_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// GATHERED-LABEL: llvm.func @product(
// GATHERED-SAME: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant}
// GATHERED-SAME: gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 384, 1, 1>, nvvm.minctasm = 1 : i32
// GATHERED: %[[ARRIVALS:.+]] = arith.constant 129 : i32
// GATHERED: nvvm.mbarrier.init %{{.+}}, %[[ARRIVALS]]
// GATHERED: nvvm.fence.mbarrier.init
// GATHERED: nvvm.barrier
// GATHERED: nvvm.setmaxregister decrease 40
// GATHERED: nvvm.mbarrier.try_wait.parity
// GATHERED: nvvm.mbarrier.arrive.expect_tx %[[FULL:.+]], %{{.+}} : !llvm.ptr<3>, i32
// GATHERED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %{{.+}}, %[[FULL]], box[%{{.+}}, %{{.+}}, %{{.+}}]
// GATHERED: nvvm.cp.async.shared.global %{{.+}}, %{{.+}}, 16, cache = cg
// GATHERED-NEXT: nvvm.cp.async.commit.group
// GATHERED: nvvm.cp.async.wait.group 2
// GATHERED-NEXT: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
// GATHERED: nvvm.mbarrier.arrive %{{.+}}
// GATHERED: nvvm.cp.async.wait.group 0
// GATHERED: nvvm.setmaxregister increase 232
// GATHERED: nvvm.mbarrier.try_wait.parity
// GATHERED: nvvm.wgmma.fence.aligned
// GATHERED-COUNT-4: nvvm.wgmma.mma_async {{.+}} <m = 64, n = 16, k = 16>
// GATHERED: nvvm.wgmma.commit.group.sync.aligned
// GATHERED-NEXT: nvvm.wgmma.wait.group.sync.aligned 1
// GATHERED: nvvm.mbarrier.arrive
// GATHERED: nvvm.wgmma.wait.group.sync.aligned 0
// GATHERED: nvvm.stmatrix
// GATHERED: llvm.store %{{.+}}, %{{.+}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>

// Tests that eight boxes of weights alternate between two maps, and one box brings the tokens.
// GATED-LABEL: llvm.func @product(
// GATED-SAME: %[[GATE:[^:]+]]: !llvm.ptr {{[^%]+}}, %[[UP:[^:]+]]: !llvm.ptr {{[^%]+}}, %[[TOKENS:[^:]+]]: !llvm.ptr
// GATED: nvvm.mbarrier.arrive.expect_tx
// GATED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %[[GATE]],
// GATED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %[[UP]],
// GATED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %[[GATE]],
// GATED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %[[UP]],
// GATED-COUNT-4: nvvm.cp.async.bulk.tensor.shared.cluster.global
// GATED: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.+}}, %[[TOKENS]], %{{.+}}, box[%{{.+}}, %{{.+}}]
// GATED-NOT: nvvm.cp.async.shared.global
// GATED: nvvm.wgmma.mma_async
// GATED: %[[FIRST:.+]] = llvm.extractvalue %[[SUMS:.+]][0]
// GATED: %[[SECOND:.+]] = llvm.extractvalue %[[SUMS]][2]
// GATED: arith.mulf %[[FIRST]], %[[SECOND]]

// Tests the other split of registers.
// WIDE-LABEL: llvm.func @product(
// WIDE: nvvm.setmaxregister decrease 72
// WIDE: nvvm.setmaxregister increase 216

// Tests that the tile map is written by one block in three steps.
// TILES-LABEL: llvm.func @tile_map(
// TILES-SAME: %[[OFFSETS:[^:]+]]: !llvm.ptr<1>, %[[MAP:[^:]+]]: !llvm.ptr<1>
// TILES: llvm.getelementptr %[[OFFSETS]]
// TILES: nvvm.barrier
// TILES: nvvm.barrier
// TILES: llvm.store %{{.+}}, %[[MAP]] {alignment = 16 : i64} : i32
// TILES: llvm.store %{{.+}}, %{{.+}} {alignment = 16 : i64} : vector<4xi32>
