// A grouped product whose bank is stored in bf16, for the chip with tensor cores.
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  func.func @f(%x: tensor<?x64xf32>, %bank: !moe.bank<tensor<4x32x64xbf16>>, %offsets: tensor<5xindex>,
      %init: tensor<?x32xf32>) -> tensor<?x32xf32> {
    %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%bank : !moe.bank<tensor<4x32x64xbf16>>)
      groups(%offsets : tensor<5xindex>) outs(%init : tensor<?x32xf32>) -> tensor<?x32xf32>
    return %y : tensor<?x32xf32>
  }
}
