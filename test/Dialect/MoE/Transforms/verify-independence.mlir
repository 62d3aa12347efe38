// Language models whose results would change with how calls are cut, and those whose do not.
// RUN: moe-opt %s --moe-verify-independence -split-input-file -verify-diagnostics -o /dev/null

// Tests that a policy that looks at several tokens is refused.
module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  func.func @forward(%words: tensor<?x8xf32>, %capacity: tensor<1xindex>) -> tensor<?x8xf32> {
    // expected-error @below {{expected a routing of a language model to decide each token alone: its policy looks at several tokens at once}}
    // expected-note @below {{calls of a language model are cut into pieces and hold several sequences; as a function of another name, in a module without 'moe.language_model', the caller says what a batch is}}
    %routing = moe.select %words policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
      normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
    return %words : tensor<?x8xf32>
  }
}

// -----

// Tests a capacity in a function that the model calls, and that functions it does not call may have any.
module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  func.func @forward(%words: tensor<?x8xf32>, %capacity: tensor<1xindex>) -> tensor<?x8xf32> {
    func.call @layer(%words, %capacity) : (tensor<?x8xf32>, tensor<1xindex>) -> ()
    return %words : tensor<?x8xf32>
  }
  func.func private @layer(%x: tensor<?x8xf32>, %capacity: tensor<1xindex>) {
    %all = moe.select %x policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    // expected-error @below {{to decide each token alone: moe.limit lets tokens compete for the room an expert has}}
    // expected-note @below {{cut into pieces}}
    %routing = moe.limit %all capacity(%capacity : tensor<1xindex>) priority(token) : !moe.routing<? x 8, slots = 2>
    return
  }
  func.func @other(%words: tensor<?x8xf32>, %capacity: tensor<1xindex>) {
    %routing = moe.select %words policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
      normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
    return
  }
}

// -----

// Tests a vote that the caller takes over all tokens and hands to the layer as a bias.
module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  func.func @forward(%words: tensor<?x8xf32>, %zeros: tensor<8xf32>) -> tensor<?x8xf32> {
    %votes = linalg.generic {indexing_maps = [affine_map<(t, e) -> (t, e)>, affine_map<(t, e) -> (e)>],
                             iterator_types = ["reduction", "parallel"]}
      ins(%words : tensor<?x8xf32>) outs(%zeros : tensor<8xf32>) {
    ^bb0(%x: f32, %sum: f32):
      %more = arith.addf %x, %sum : f32
      linalg.yield %more : f32
    } -> tensor<8xf32>
    func.call @layer(%words, %votes) : (tensor<?x8xf32>, tensor<8xf32>) -> ()
    return %words : tensor<?x8xf32>
  }
  func.func private @layer(%x: tensor<?x8xf32>, %bias: tensor<8xf32>) {
    // expected-error @below {{to decide each token alone: something is computed over all tokens}}
    // expected-note @below {{cut into pieces}}
    %routing = moe.select %x bias(%bias : tensor<8xf32>) policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    return
  }
}

// -----

// Tests that experts with a state are refused: each piece would begin with the same one.
module attributes {moe.language_model = {vocabulary = 4 : i64, max_context = 8 : i64}} {
  func.func @forward(%x: tensor<?x4xf32>, %state: tensor<4x4xf32>) -> tensor<?x4xf32> {
    %routing = moe.select %x policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 1>
    // expected-error @below {{expected experts of a language model to have no state}}
    // expected-note @below {{cut into pieces}}
    %y, %after = moe.experts rows(%x : tensor<?x4xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 1>)
           state(%state : tensor<4x4xf32>) combine(#moe.weighted_sum) -> tensor<?x4xf32>, tensor<4x4xf32> {
    ^bb0(%own: tensor<?x4xf32>, %memory: tensor<4xf32>):
      moe.yield %own, %memory : tensor<?x4xf32>, tensor<4xf32>
    }
    return %y : tensor<?x4xf32>
  }
}

// -----

// Tests that a router that reads its own row alone may stand in a language model, behind a loop as well.
module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  func.func @forward(%words: tensor<?x8xf32>) -> tensor<?x8xf32> {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %rows = tensor.dim %words, %c0 : tensor<?x8xf32>
    %attended = scf.for %t = %c0 to %rows step %c1 iter_args(%all = %words) -> tensor<?x8xf32> {
      %row = tensor.extract_slice %words[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
      %next = tensor.insert_slice %row into %all[%t, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<?x8xf32>
      scf.yield %next : tensor<?x8xf32>
    }
    %routing = moe.select %attended policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    return %words : tensor<?x8xf32>
  }
}

// -----

// Tests that a module that is no language model may couple tokens.
func.func @forward(%words: tensor<?x8xf32>, %capacity: tensor<1xindex>) {
  %routing = moe.select %words policy(#moe.expert_choice) with(capacity = %capacity : tensor<1xindex>) score(#moe.softmax)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  return
}
