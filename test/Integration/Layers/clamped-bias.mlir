// RUN: %systems %moe_bin %t %s
// RUN: moe-opt %s --moe-optimize | FileCheck %s
//
// Experts with a bias at every product and a clamped activation: gate at most 7, up between -7 and 7,
// (up + 1) * gate * sigmoid(1.702 * gate). On the fast path that is one product for gate and up and one for down.

// CHECK-LABEL: @clamped_bias
// CHECK: moe.plan
// CHECK: %[[H:.+]] = moe.grouped_matmul {{.+}} banks(%{{.+}}, %{{.+}} : !moe.bank<tensor<7x37x24xf32>>, !moe.bank<tensor<7x37x24xf32>>)
// CHECK-SAME: vectors(%{{.+}}, %{{.+}} : !moe.bank<tensor<7x37xf32>>, !moe.bank<tensor<7x37xf32>>)
// CHECK-NOT: linalg.generic
// CHECK: moe.grouped_matmul ins(%[[H]] : {{.+}}) banks(%{{.+}} : !moe.bank<tensor<7x24x37xf32>>) vectors(%{{.+}} : !moe.bank<tensor<7x24xf32>>)
// CHECK-NOT: linalg.generic
// CHECK: moe.combine

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#column = affine_map<(i, j) -> (j)>

!wide = !moe.bank<tensor<7x37x24xf32>>
!narrow = !moe.bank<tensor<7x24x37xf32>>
!wide_bias = !moe.bank<tensor<7x37xf32>>
!narrow_bias = !moe.bank<tensor<7x24xf32>>

ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<7x37x24xf32>>]>) : !wide
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<7x37x24xf32>>]>) : !wide
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<7x24x37xf32>>]>) : !narrow
ml_program.global private @gate_bias(#moe.bank_recipe<[#moe.source<"gate_bias", tensor<7x37xf32>>]>) : !wide_bias
ml_program.global private @up_bias(#moe.bank_recipe<[#moe.source<"up_bias", tensor<7x37xf32>>]>) : !wide_bias
ml_program.global private @down_bias(#moe.bank_recipe<[#moe.source<"down_bias", tensor<7x24xf32>>]>) : !narrow_bias

func.func @clamped_bias(%x: tensor<?x24xf32> {moe.name = "x"}, %ids: tensor<?x2xi32> {moe.name = "ids"},
                        %share: tensor<?x2xf32> {moe.name = "share"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %gate = ml_program.global_load_const @gate : !wide
  %up = ml_program.global_load_const @up : !wide
  %down = ml_program.global_load_const @down : !narrow
  %gate_bias = ml_program.global_load_const @gate_bias : !wide_bias
  %up_bias = ml_program.global_load_const @up_bias : !wide_bias
  %down_bias = ml_program.global_load_const @down_bias : !narrow_bias
  %routing = moe.make_routing %ids, %share : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 7, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 7, slots = 2>)
         banks(%gate, %up, %down, %gate_bias, %up_bias, %down_bias : !wide, !wide, !narrow, !wide_bias, !wide_bias, !narrow_bias)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %g: tensor<37x24xf32>, %u: tensor<37x24xf32>, %d: tensor<24x37xf32>,
       %gb: tensor<37xf32>, %ub: tensor<37xf32>, %db: tensor<24xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %wide = tensor.empty(%count) : tensor<?x37xf32>
    %wide_zero = linalg.fill ins(%none : f32) outs(%wide : tensor<?x37xf32>) -> tensor<?x37xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %g : tensor<?x24xf32>, tensor<37x24xf32>) outs(%wide_zero : tensor<?x37xf32>) -> tensor<?x37xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<37x24xf32>) outs(%wide_zero : tensor<?x37xf32>) -> tensor<?x37xf32>
    // One way to add a bias: a broadcast and a sum of tensors.
    %gate_rows = linalg.broadcast ins(%gb : tensor<37xf32>) outs(%wide : tensor<?x37xf32>) dimensions = [0]
    %gate_sum = arith.addf %gated, %gate_rows : tensor<?x37xf32>
    // Another: an operation that reads the vector for each row.
    %h = linalg.generic {indexing_maps = [#id, #id, #column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gate_sum, %raised, %ub : tensor<?x37xf32>, tensor<?x37xf32>, tensor<37xf32>) outs(%wide : tensor<?x37xf32>) {
    ^bb0(%a: f32, %b: f32, %bias: f32, %unused: f32):
      %seven = arith.constant 7.0 : f32
      %minus_seven = arith.constant -7.0 : f32
      %one = arith.constant 1.0 : f32
      %alpha = arith.constant 1.702 : f32
      %sum = arith.addf %b, %bias : f32
      %above = arith.minimumf %a, %seven : f32
      %low = arith.maximumf %sum, %minus_seven : f32
      %clamped = arith.minimumf %low, %seven : f32
      %scaled = arith.mulf %above, %alpha : f32
      %negative = arith.negf %scaled : f32
      %exp = math.exp %negative : f32
      %divisor = arith.addf %exp, %one : f32
      %swish = arith.divf %above, %divisor : f32
      %more = arith.addf %clamped, %one : f32
      %product = arith.mulf %more, %swish : f32
      linalg.yield %product : f32
    } -> tensor<?x37xf32>
    %narrow = tensor.empty(%count) : tensor<?x24xf32>
    %narrow_zero = linalg.fill ins(%none : f32) outs(%narrow : tensor<?x24xf32>) -> tensor<?x24xf32>
    %product = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x37xf32>, tensor<24x37xf32>) outs(%narrow_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    // A third: over the product itself.
    %out = linalg.generic {indexing_maps = [#column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%db : tensor<24xf32>) outs(%product : tensor<?x24xf32>) {
    ^bb0(%bias: f32, %a: f32):
      %sum = arith.addf %a, %bias : f32
      linalg.yield %sum : f32
    } -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
