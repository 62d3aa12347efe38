// RUN: moe-opt %s --moe-gpu-device-math | FileCheck %s

// Tests that sine and cosine in f32 are computed in f64, and that others stay.
// CHECK-LABEL: func.func @rotary(
// CHECK-SAME:    %[[X:[^:]+]]: f32, %[[WIDE:[^:]+]]: f64
// CHECK-NOT:     math.sin %[[X]]
// CHECK-NOT:     math.cos
// CHECK:         arith.extf %[[X]] : f32 to f64
// CHECK:         %[[SINE:.+]] = arith.truncf {{.+}} : f64 to f32
// CHECK:         %[[COSINE:.+]] = arith.truncf {{.+}} : f64 to f32
// CHECK:         %[[OTHER:.+]] = math.sin %[[WIDE]] : f64
// CHECK:         return %[[SINE]], %[[COSINE]], %[[OTHER]]
func.func @rotary(%x: f32, %wide: f64) -> (f32, f32, f64) {
  %s = math.sin %x : f32
  %c = math.cos %x : f32
  %other = math.sin %wide : f64
  return %s, %c, %other : f32, f32, f64
}
