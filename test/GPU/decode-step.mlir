// RUN: moe-opt %s --moe-gpu-decode-step -split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-gpu-decode-step=fan-in=2 -split-input-file | FileCheck %s --check-prefix=TWO
// RUN: not moe-opt %s --moe-gpu-decode-step=fan-in=1 -split-input-file 2>&1 | FileCheck %s --check-prefix=ONE

// ONE: expected a fan-in of at least 2, got 1

// Tests that the step feeds what decoding stands at, or what it stood at once it has ended; chooses by groups of 32
// that lie apart; and advances all in place. The order of arguments of `forward` is its own.
// CHECK-LABEL: func.func @decode_step(
// CHECK-SAME:    %[[TOKENS:[^:]+]]: tensor<1xi32> {moe.name = "tokens", moe.role = "tokens"}
// CHECK-SAME:    %[[POSITIONS:[^:]+]]: tensor<1xi32> {moe.name = "positions", moe.role = "positions"}
// CHECK-SAME:    %[[SEQUENCES:[^:]+]]: tensor<1xi32> {moe.name = "sequences", moe.role = "sequences"}
// CHECK-SAME:    %[[STOP:[^:]+]]: tensor<1xi32> {moe.name = "stop", moe.role = "stop"}
// CHECK-SAME:    %[[CACHE:[^:]+]]: tensor<?x?x2xf32> {moe.name = "keys", moe.role = "cache", moe.window = 4 : i64})
// CHECK-SAME:    -> (tensor<1xi32> {moe.name = "tokens", moe.role = "tokens"},
// CHECK-SAME:        tensor<1xi32> {moe.name = "positions", moe.role = "positions"},
// CHECK-SAME:        tensor<1xi32> {moe.name = "stop", moe.role = "stop"},
// CHECK-SAME:        tensor<?x?x2xf32> {moe.name = "keys", moe.role = "cache", moe.window = 4 : i64})
// CHECK:         %[[FED:.+]]:2 = linalg.generic {{.+}} ins(%[[TOKENS]], %[[POSITIONS]], %[[STOP]] :
// CHECK:           %[[ZERO:.+]] = arith.constant 0 : i32
// CHECK:           arith.cmpi sgt, %{{.+}}, %[[ZERO]]
// CHECK-DAG:     %[[TOKEN:.+]] = tensor.cast %[[FED]]#0
// CHECK-DAG:     %[[POSITION:.+]] = tensor.cast %[[FED]]#1
// CHECK-DAG:     %[[SEQUENCE:.+]] = tensor.cast %[[SEQUENCES]]
// CHECK:         %[[OUT:.+]]:2 = call @forward(%[[CACHE]], %[[SEQUENCE]], %[[TOKEN]], %[[POSITION]], %{{.+}})
// CHECK:         linalg.generic {{.+}} outs({{.+}} : tensor<3xf32>, tensor<3xi32>)
// CHECK:           %[[LAST:.+]] = arith.constant 69 : index
// CHECK:           %[[ROUNDS:.+]] = arith.constant 24 : index
// CHECK:           scf.for %{{.+}} = %{{.+}} to %[[ROUNDS]] step
// CHECK:             %[[PLACE:.+]] = arith.addi
// CHECK:             %[[INSIDE:.+]] = arith.minsi %[[PLACE]], %[[LAST]]
// CHECK:             tensor.extract %[[OUT]]#1[%{{.+}}, %[[INSIDE]]]
// CHECK:             arith.cmpf ogt
// CHECK:             arith.cmpf oeq
// CHECK:             arith.cmpi ult
// CHECK:         %[[BEST:.+]]:2 = linalg.generic {{.+}} outs({{.+}} : tensor<1xf32>, tensor<1xi32>)
// CHECK:           %[[GROUPS:.+]] = arith.constant 3 : index
// CHECK:           scf.for %{{.+}} = %{{.+}} to %[[GROUPS]] step
// CHECK:         %[[NEXT:.+]]:3 = linalg.generic {{.+}} ins(%[[FED]]#0, %[[BEST]]#1 :
// CHECK-SAME:      outs(%[[TOKENS]], %[[POSITIONS]], %[[STOP]] :
// CHECK:         ^bb0(%{{.+}}: i32, %[[ID:.+]]: i32, %{{.+}}: i32, %{{.+}}: i32, %{{.+}}: i32):
// CHECK:           %[[FIVE:.+]] = arith.constant 5 : i32
// CHECK:           arith.cmpi eq, %[[ID]], %[[FIVE]]
// CHECK:           %[[END:.+]] = arith.constant 69 : i32
// CHECK:           arith.cmpi eq, %[[ID]], %[[END]]
// CHECK:         return %[[NEXT]]#0, %[[NEXT]]#1, %[[NEXT]]#2, %[[OUT]]#0 :

// Tests that the tree has as many levels as it needs.
// TWO-LABEL: func.func @decode_step(
// TWO:         outs({{.+}} : tensor<35xf32>, tensor<35xi32>)
// TWO:         outs({{.+}} : tensor<18xf32>, tensor<18xi32>)
// TWO:         outs({{.+}} : tensor<9xf32>, tensor<9xi32>)
// TWO:         outs({{.+}} : tensor<5xf32>, tensor<5xi32>)
// TWO:         outs({{.+}} : tensor<3xf32>, tensor<3xi32>)
// TWO:         outs({{.+}} : tensor<2xf32>, tensor<2xi32>)
// TWO:         outs({{.+}} : tensor<1xf32>, tensor<1xi32>)
module attributes {moe.language_model = {vocabulary = 70 : i64, max_context = 8 : i64, eos = array<i32: 5, 69>}} {
  func.func @forward(%cache: tensor<?x?x2xf32> {moe.name = "keys", moe.role = "cache", moe.window = 4 : i64},
                     %sequences: tensor<?xi32> {moe.name = "sequences", moe.role = "sequences"},
                     %tokens: tensor<?xi32> {moe.name = "tokens", moe.role = "tokens"},
                     %positions: tensor<?xi32> {moe.name = "positions", moe.role = "positions"},
                     %first_row: index {moe.name = "first_row", moe.role = "first_row"})
      -> (tensor<?x?x2xf32> {moe.name = "keys", moe.role = "cache", moe.window = 4 : i64},
          tensor<?x70xf32> {moe.name = "logits", moe.role = "logits"}) {
    %c0 = arith.constant 0 : index
    %rows = tensor.dim %tokens, %c0 : tensor<?xi32>
    %logits = tensor.empty(%rows) : tensor<?x70xf32>
    return %cache, %logits : tensor<?x?x2xf32>, tensor<?x70xf32>
  }
}

// -----

// Tests that a step written by hand stays the only one.
// CHECK-LABEL: module attributes {moe.language_model
// CHECK:       func.func @decode_step() {
// CHECK:       func.func @forward(
// CHECK-NOT:   @decode_step
// CHECK:       return
module attributes {moe.language_model = {vocabulary = 4 : i64, max_context = 8 : i64}} {
  func.func @decode_step() {
    return
  }
  func.func @forward(%tokens: tensor<?xi32> {moe.role = "tokens"}, %positions: tensor<?xi32> {moe.role = "positions"},
                     %sequences: tensor<?xi32> {moe.role = "sequences"}, %first_row: index {moe.role = "first_row"},
                     %logits: tensor<?x4xf32> {moe.role = "cache"}) -> (tensor<?x4xf32> {moe.role = "logits"}) {
    return %logits : tensor<?x4xf32>
  }
}

// -----

// Tests that a model that takes more than tokens and caches gets none.
// CHECK-LABEL: module attributes {moe.language_model
// CHECK-NOT:   @decode_step
// CHECK:       func.func @forward(
// CHECK-NOT:   @decode_step
// CHECK:       return
module attributes {moe.language_model = {vocabulary = 4 : i64, max_context = 8 : i64}} {
  func.func @forward(%tokens: tensor<?xi32> {moe.role = "tokens"}, %positions: tensor<?xi32> {moe.role = "positions"},
                     %sequences: tensor<?xi32> {moe.role = "sequences"}, %first_row: index {moe.role = "first_row"},
                     %logits: tensor<?x4xf32>) -> (tensor<?x4xf32> {moe.role = "logits"}) {
    return %logits : tensor<?x4xf32>
  }
}

// -----

// Tests that a module that is no language model gets none.
// CHECK-LABEL: module {
// CHECK:       func.func @forward(
// CHECK-NOT:   @decode_step
// CHECK:       return
func.func @forward(%tokens: tensor<?xi32> {moe.role = "tokens"}) -> tensor<?xi32> {
  return %tokens : tensor<?xi32>
}
