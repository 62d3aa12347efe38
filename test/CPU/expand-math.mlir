// RUN: moe-opt %s --moe-cpu-expand-math | FileCheck %s

// Tests that elementary functions become polynomials, on vectors and on scalars.
// CHECK-LABEL: func.func @polynomials(
// CHECK:         math.fma {{.+}} : vector<16xf32>
// CHECK:         math.fma {{.+}} : f32
// CHECK-NOT:     math.{{exp|tanh|erf|log}}
// CHECK:         return
func.func @polynomials(%v: vector<16xf32>, %x: f32) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, f32) {
  %0 = math.exp %v : vector<16xf32>
  %1 = math.tanh %0 : vector<16xf32>
  %2 = math.erf %v : vector<16xf32>
  %3 = math.log %v : vector<16xf32>
  %4 = math.exp %x : f32
  return %1, %2, %3, %4 : vector<16xf32>, vector<16xf32>, vector<16xf32>, f32
}

// Tests that sine and cosine, whose arguments are large, are left to the C library in scalars.
// CHECK-LABEL: func.func @library(
// CHECK-COUNT-4: math.sin %{{.+}} : f32
// CHECK-NOT:     vector<4xf32>{{$}}
// CHECK:         vector.from_elements
func.func @library(%v: vector<4xf32>) -> vector<4xf32> {
  %0 = math.sin %v : vector<4xf32>
  return %0 : vector<4xf32>
}

// Tests that rounding to bf16 needs no library call.
// CHECK-LABEL: func.func @bf16(
// CHECK-NOT:     arith.truncf
// CHECK:         return
func.func @bf16(%v: vector<16xf32>) -> vector<16xbf16> {
  %0 = arith.truncf %v : vector<16xf32> to vector<16xbf16>
  return %0 : vector<16xbf16>
}

// Tests that divisions that round up or down, which LLVM lacks, become those that round to zero.
// CHECK-LABEL: func.func @divisions(
// CHECK-NOT:     arith.{{ceildiv|floordiv}}
// CHECK:         return
func.func @divisions(%a: index, %b: index, %v: vector<8xi32>, %w: vector<8xi32>) -> (index, index, index, vector<8xi32>) {
  %0 = arith.ceildivsi %a, %b : index
  %1 = arith.floordivsi %0, %b : index
  %2 = arith.ceildivui %1, %b : index
  %3 = arith.floordivsi %v, %w : vector<8xi32>
  return %0, %1, %2, %3 : index, index, index, vector<8xi32>
}

// Tests that a function whose body goes elsewhere keeps its elementary functions.
// CHECK-LABEL: func.func @kept(
// CHECK:         math.exp
func.func @kept(%x: f32) -> f32 attributes {moe.keep_math} {
  %0 = math.exp %x : f32
  return %0 : f32
}
