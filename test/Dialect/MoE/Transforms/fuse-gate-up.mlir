// RUN: moe-opt %s --moe-fuse-gate-up --split-input-file --verify-diagnostics --remarks-filter-missed='.*' --remark-format=emitRemark | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that gate and up projection become one product whose epilogue is the activation, in one operation.
// CHECK-LABEL: func.func @gate_up(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>, %[[TOKENS:[^:]+]]: tensor<?xindex>, %[[OFFSETS:[^:]+]]: tensor<9xindex>
// CHECK-SAME:    %[[GATE:[^:]+]]: !moe.bank<tensor<8x96x64xbf16>>, %[[UP:[^:]+]]: !moe.bank<tensor<8x96x64xbf16>>
// CHECK:         %[[INIT:.+]] = tensor.empty
// CHECK:         %[[H:.+]] = moe.grouped_matmul ins(%[[X]] : tensor<?x64xf32>) at(%[[TOKENS]] : tensor<?xindex>)
// CHECK-SAME:      banks(%[[GATE]], %[[UP]] :
// CHECK-SAME:      groups(%[[OFFSETS]] : tensor<9xindex>) outs(%[[INIT]] :
// CHECK-NEXT:    ^bb0(%[[G:[^:]+]]: f32, %[[U:[^:]+]]: f32):
// CHECK:           %[[EXP:.+]] = math.exp %[[G]]
// CHECK:           %[[PRODUCT:.+]] = arith.mulf %[[EXP]], %[[U]]
// CHECK:           moe.yield %[[PRODUCT]] : f32
// CHECK-NOT:     moe.grouped_matmul
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[H]]
func.func @gate_up(%x: tensor<?x64xf32>, %tokens: tensor<?xindex>, %offsets: tensor<9xindex>,
                   %gate: !moe.bank<tensor<8x96x64xbf16>>, %up: !moe.bank<tensor<8x96x64xbf16>>, %n: index) -> tensor<?x96xf32> {
  %init = tensor.empty(%n) : tensor<?x96xf32>
  %g = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) banks(%gate : !moe.bank<tensor<8x96x64xbf16>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) banks(%up : !moe.bank<tensor<8x96x64xbf16>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
  %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%g, %u : tensor<?x96xf32>, tensor<?x96xf32>) outs(%init : tensor<?x96xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %e = math.exp %a : f32
    %p = arith.mulf %e, %b : f32
    linalg.yield %p : f32
  } -> tensor<?x96xf32>
  return %h : tensor<?x96xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that a chain fuses as a whole, although the gate's product has two readers inside it; that a constant from
// outside comes into the epilogue, and that a size read from an intermediate result is no reader.
// CHECK-LABEL: func.func @chain(
// CHECK:         %[[H:.+]] = moe.grouped_matmul
// CHECK-NEXT:    ^bb0(%[[G:[^:]+]]: f32, %[[U:[^:]+]]: f32):
// CHECK:           %[[ONE:.+]] = arith.constant 1.0
// CHECK:           %[[SUM:.+]] = arith.addf %[[G]], %[[ONE]]
// CHECK:           %[[ACT:.+]] = arith.mulf %[[G]], %[[SUM]]
// CHECK:           %[[OUT:.+]] = arith.mulf %[[ACT]], %[[U]]
// CHECK:           moe.yield %[[OUT]]
// CHECK-NOT:     linalg
// CHECK:         return %[[H]]
func.func @chain(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %gate: !moe.bank<tensor<8x96x64xf32>>,
                 %up: !moe.bank<tensor<8x96x64xf32>>) -> (tensor<4x96xf32>, index) {
  %one = arith.constant 1.0 : f32
  %c0 = arith.constant 0 : index
  %init = tensor.empty() : tensor<4x96xf32>
  %g = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%gate : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %s = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%g : tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) {
  ^bb0(%a: f32, %o: f32):
    %e = arith.addf %a, %one : f32
    linalg.yield %e : f32
  } -> tensor<4x96xf32>
  %act = linalg.mul ins(%g, %s : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%up : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %rows = tensor.dim %act, %c0 : tensor<4x96xf32>
  %h = linalg.mul ins(%act, %u : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h, %rows : tensor<4x96xf32>, index
}

// -----

// Tests that a product that has an epilogue already gets a longer one.
// CHECK-LABEL: func.func @longer_epilogue(
// CHECK:         %[[H:.+]] = moe.grouped_matmul
// CHECK-NEXT:    ^bb0(%[[P:[^:]+]]: f32):
// CHECK:           %[[NEG:.+]] = arith.negf %[[P]]
// CHECK:           %[[EXP:.+]] = math.exp %[[NEG]]
// CHECK:           moe.yield %[[EXP]]
// CHECK:         return %[[H]]
func.func @longer_epilogue(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %up: !moe.bank<tensor<8x96x64xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%up : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32> {
  ^bb0(%p: f32):
    %n = arith.negf %p : f32
    moe.yield %n : f32
  }
  %h = linalg.exp ins(%u : tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

// Tests that products with different groups stay two.
// CHECK-LABEL: func.func @different_groups(
// CHECK-COUNT-2: moe.grouped_matmul
// CHECK:         linalg.mul
func.func @different_groups(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %others: tensor<9xindex>,
                            %w: !moe.bank<tensor<8x96x64xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %g = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%others : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{its products are over different rows or groups}}
  %h = linalg.mul ins(%g, %u : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

// Tests that a product with another reader stays.
// CHECK-LABEL: func.func @another_reader(
// CHECK:         %[[U:.+]] = moe.grouped_matmul
// CHECK:         %[[H:.+]] = linalg.exp ins(%[[U]] :
// CHECK:         return %[[U]], %[[H]]
func.func @another_reader(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>)
    -> (tensor<4x96xf32>, tensor<4x96xf32>) {
  %init = tensor.empty() : tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{a product or an intermediate result has another reader}}
  %h = linalg.exp ins(%u : tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %u, %h : tensor<4x96xf32>, tensor<4x96xf32>
}

// -----

// Tests that rows outside all groups, which the program can see, keep their meaning.
// CHECK-LABEL: func.func @keeps_init(
// CHECK:         moe.grouped_matmul
// CHECK:         linalg.exp
func.func @keeps_init(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>,
                      %start: tensor<4x96xf32>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%start : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{a product keeps rows of its init}}
  %h = linalg.exp ins(%u : tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

// Tests that an addition of another tensor is no epilogue, and that what comes before it is.
// CHECK-LABEL: func.func @residual(
// CHECK:         %[[U:.+]] = moe.grouped_matmul
// CHECK-NEXT:    ^bb0
// CHECK:           math.exp
// CHECK:         linalg.add ins(%[[U]], %{{.+}} :
func.func @residual(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>,
                    %residual: tensor<4x96xf32>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %h = linalg.exp ins(%u : tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %y = linalg.add ins(%h, %residual : tensor<4x96xf32>, tensor<4x96xf32>) outs(%residual : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %y : tensor<4x96xf32>
}

// -----

// Tests that weights stored in different types stay two products.
// CHECK-LABEL: func.func @different_storage(
// CHECK-COUNT-2: moe.grouped_matmul
// CHECK:         linalg.mul
func.func @different_storage(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %v: !moe.bank<tensor<8x96x64xbf16>>,
                             %w: !moe.bank<tensor<8x96x64xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %g = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%v : !moe.bank<tensor<8x96x64xbf16>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{its weights are stored in different types}}
  %h = linalg.mul ins(%g, %u : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

// Tests that an operation that writes over its own input ends up in that input's buffer.
// CHECK-LABEL: func.func @over_its_input(
// CHECK:         %[[INIT:.+]] = tensor.empty
// CHECK:         moe.grouped_matmul {{.+}} outs(%[[INIT]] :
// CHECK:           math.exp
// CHECK-NOT:     linalg.exp
// CHECK:         return
func.func @over_its_input(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %u = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %h = linalg.exp ins(%u : tensor<4x96xf32>) outs(%u : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that vectors of the same groups come into the epilogue, after those that a product has already; what filled rows with them goes.
// CHECK-LABEL: func.func @biases(
// CHECK-SAME:    %[[OFFSETS:[^:]+]]: tensor<9xindex>, %[[W:[^:]+]]: !moe.bank<tensor<8x96x64xf32>>
// CHECK-SAME:    %[[OLD:[^:]+]]: !moe.bank<tensor<8x96xf16>>, %[[NEW:[^:]+]]: !moe.bank<tensor<8x96xf32>>
// CHECK-NOT:     moe.fill_groups
// CHECK:         %[[H:.+]] = moe.grouped_matmul {{.+}} banks(%[[W]] : {{.+}}) vectors(%[[OLD]], %[[NEW]] : {{.+}}) groups(%[[OFFSETS]] :
// CHECK-NEXT:    ^bb0(%[[P:[^:]+]]: f32, %[[A:[^:]+]]: f32, %[[B:[^:]+]]: f32):
// CHECK-NEXT:      %[[SUM:.+]] = arith.addf %[[P]], %[[A]]
// CHECK-NEXT:      %[[ALL:.+]] = arith.addf %[[SUM]], %[[B]]
// CHECK-NEXT:      moe.yield %[[ALL]]
// CHECK:         return %[[H]]
func.func @biases(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>,
                  %old: !moe.bank<tensor<8x96xf16>>, %new: !moe.bank<tensor<8x96xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %p = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         vectors(%old : !moe.bank<tensor<8x96xf16>>) groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>)
         -> tensor<4x96xf32> {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    moe.yield %s : f32
  }
  %bias = moe.fill_groups ins(%new : !moe.bank<tensor<8x96xf32>>) groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %h = linalg.add ins(%p, %bias : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

// Tests that vectors of other groups stay apart.
// CHECK-LABEL: func.func @other_groups(
// CHECK:         moe.grouped_matmul
// CHECK:         moe.fill_groups
// CHECK:         linalg.add
func.func @other_groups(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %others: tensor<9xindex>,
                        %w: !moe.bank<tensor<8x96x64xf32>>, %new: !moe.bank<tensor<8x96xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %p = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %bias = moe.fill_groups ins(%new : !moe.bank<tensor<8x96xf32>>) groups(%others : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  // expected-remark @below {{its vectors are of different groups}}
  %h = linalg.add ins(%p, %bias : tensor<4x96xf32>, tensor<4x96xf32>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>

// Tests that an operation that reads what it is written over counts that as an input.
// CHECK-LABEL: func.func @in_place(
// CHECK:         %[[INIT:.+]] = tensor.empty
// CHECK:         %[[H:.+]] = moe.grouped_matmul {{.+}} outs(%[[INIT]] :
// CHECK-NEXT:    ^bb0(%[[P:[^:]+]]: f32, %[[B:[^:]+]]: f32):
// CHECK-NEXT:      %[[SUM:.+]] = arith.addf %[[P]], %[[B]]
// CHECK-NEXT:      moe.yield %[[SUM]]
// CHECK-NOT:     linalg.generic
// CHECK:         return %[[H]]
func.func @in_place(%x: tensor<4x64xf32>, %offsets: tensor<9xindex>, %w: !moe.bank<tensor<8x96x64xf32>>,
                    %bias: !moe.bank<tensor<8x96xf32>>) -> tensor<4x96xf32> {
  %init = tensor.empty() : tensor<4x96xf32>
  %p = moe.grouped_matmul ins(%x : tensor<4x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
         groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %rows = moe.fill_groups ins(%bias : !moe.bank<tensor<8x96xf32>>) groups(%offsets : tensor<9xindex>) outs(%init : tensor<4x96xf32>) -> tensor<4x96xf32>
  %h = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%rows : tensor<4x96xf32>) outs(%p : tensor<4x96xf32>) {
  ^bb0(%b: f32, %o: f32):
    %s = arith.addf %o, %b : f32
    linalg.yield %s : f32
  } -> tensor<4x96xf32>
  return %h : tensor<4x96xf32>
}
