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

// Tests that integer divisions that round up or down become those that round to zero.
// CHECK-LABEL: func.func @divisions(
// CHECK-NOT:     arith.{{ceildivsi|ceildivui|floordivsi}}
// CHECK:         arith.divsi
// CHECK:         return
func.func @divisions(%a: i32, %v: vector<4xindex>) -> (i32, i32, vector<4xindex>) {
  %0 = arith.ceildivsi %a, %a : i32
  %1 = arith.floordivsi %0, %a : i32
  %2 = arith.ceildivui %v, %v : vector<4xindex>
  return %0, %1, %2 : i32, i32, vector<4xindex>
}
