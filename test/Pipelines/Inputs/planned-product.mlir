// A choice, its plan, and a product over the plan's rows whose bank is stored in bf16, for the chip with tensor cores.
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  func.func @f(%x: tensor<?x64xf32>, %bank: !moe.bank<tensor<4x32x64xbf16>>, %logits: tensor<?x4xf32>,
      %init: tensor<?x32xf32>) -> tensor<?x32xf32> {
    %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
    %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x 4, slots = 2>
      -> tensor<5xindex>, tensor<?xindex>, tensor<?x2xindex>
    %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
      banks(%bank : !moe.bank<tensor<4x32x64xbf16>>) groups(%offsets : tensor<5xindex>)
      outs(%init : tensor<?x32xf32>) -> tensor<?x32xf32>
    return %y : tensor<?x32xf32>
  }
}
