// Breaks the contract of every stage: whether the multiply-add is fused is left open.
func.func private @f(%a: f32) -> f32 {
  %0 = llvm.intr.fmuladd(%a, %a, %a) : (f32, f32, f32) -> f32
  return %0 : f32
}
