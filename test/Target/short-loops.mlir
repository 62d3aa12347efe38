// Tests that LLVM leaves short loops of kernels as they are: written out in full, those of attention need more registers
// than a thread has.
// RUN: moe-compile %s --target=nvptx --emit=ptx -o - | FileCheck %s

// CHECK:         .visible .entry product_loop(
// CHECK-COUNT-2: ld.global.b32
// CHECK-NOT:     ld.global
// CHECK:         bra
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
func.func @product(%x: tensor<?x6xf32> {moe.name = "x"}, %w: tensor<5x6xf32> {moe.name = "w"}) -> (tensor<?x5xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x6xf32>
  %empty = tensor.empty(%n) : tensor<?x5xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  %y = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%x, %w : tensor<?x6xf32>, tensor<5x6xf32>) outs(%zeros : tensor<?x5xf32>) {
  ^bb0(%l: f32, %r: f32, %sum: f32):
    %p = arith.mulf %l, %r : f32
    %s = arith.addf %sum, %p : f32
    linalg.yield %s : f32
  } -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}
