// The discardable attributes of docs/Spec.md: wrong kinds and unknown names.
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{expected 'moe.role' to be one of data, parameters, tokens, positions, sequences, first_row, cache, logits, stop; got "token"}}
func.func private @unknown_role(tensor<?xi32> {moe.role = "token"})

// -----

// expected-error @+1 {{expected 'moe.name' to be a string}}
func.func private @name_not_a_string(tensor<?xi32> {moe.name = 1 : i64})

// -----

// expected-error @+1 {{expected 'moe.window' to be a number of positions from 1 to 2147483647 (i64); got 0 : i64}}
func.func private @no_window(tensor<?x?x2x4xf32> {moe.role = "cache", moe.window = 0 : i64})

// -----

// expected-error @+1 {{expected 'moe.window' to be a number of positions from 1 to 2147483647 (i64); got 7 : i32}}
func.func private @window_of_i32(tensor<?x?x2x4xf32> {moe.role = "cache", moe.window = 7 : i32})

// -----

// expected-error @+1 {{expected 'moe.extents' to be numbers from 0 to 2147483647, array<i64: ...>; got array<i64: -1>}}
func.func private @extents(tensor<?xf32> {moe.extents = array<i64: -1>})

// -----

// expected-error @+1 {{unknown attribute 'moe.colour' on an argument or a result}}
func.func private @unknown_argument_attribute(tensor<?xi32> {moe.colour = "red"})

// -----

// expected-error @+1 {{unknown attribute 'moe.colour'}}
func.func private @unknown_attribute() attributes {moe.colour = "red"}

// -----

// expected-error @+1 {{expected 'moe.target' to be a #moe.cpu attribute}}
module attributes {moe.target = "x86"} {}

// -----

// expected-error @+1 {{expected 'vectorBits' to be 256 or 512, got 128}}
module attributes {moe.target = #moe.cpu<"znver1", "+sse4.2", vectorBits = 128, l1Bytes = 32768, l2Bytes = 524288>} {}

// -----

// expected-error @+1 {{expected 'moe.device' to be a #moe.gpu attribute}}
module attributes {moe.device = "sm_90a"} {}

// -----

// expected-error @+1 {{expected 'maxTokens' to be 1 or more, got 0}}
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 0>} {}

// -----

// expected-error @+1 {{expected the name of a chip}}
module attributes {moe.device = #moe.gpu<"", maxTokens = 1>} {}

// -----

// expected-error @+1 {{expected 'moe.parameters' to be the sizes of a kernel's parameters}}
func.func private @parameters() attributes {moe.parameters = 3 : i32}

// -----

// expected-error @+1 {{expected 'moe.shared_bytes' to be a number of bytes (i64)}}
func.func private @shared() attributes {moe.shared_bytes = 3 : i32}

// -----

// expected-error @+1 {{expected 'moe.keep_math' to have no value}}
func.func private @kept() attributes {moe.keep_math = true}

// -----

// expected-error @+1 {{expected 'moe.weights_size' to be a number of bytes (i64)}}
module attributes {moe.weights_size = -1 : i64} {}

// -----

// expected-error @+1 {{expected 'moe.language_model' to be a dictionary}}
module attributes {moe.language_model = 7 : i64} {}

// -----

// expected-error @+1 {{expected 'vocabulary' of 'moe.language_model' to be an i64 of 1 to 2147483647}}
module attributes {moe.language_model = {vocabulary = 7 : i32, max_context = 8 : i64}} {}

// -----

// expected-error @+1 {{expected 'max_context' of 'moe.language_model' to be an i64 of 1 to 2147483647}}
module attributes {moe.language_model = {vocabulary = 7 : i64, max_context = 0 : i64}} {}

// -----

// expected-error @+1 {{expected 'eos' of 'moe.language_model' to be an array<i32: ...>}}
module attributes {moe.language_model = {vocabulary = 7 : i64, max_context = 8 : i64, eos = [1 : i32]}} {}

// -----

// expected-error @+1 {{expected 'eos' of 'moe.language_model' to hold numbers from 0 to 6}}
module attributes {moe.language_model = {vocabulary = 7 : i64, max_context = 8 : i64, eos = array<i32: 7>}} {}

// -----

// expected-error @+1 {{expected 'moe_layers' of 'moe.language_model' to hold numbers from 0 to 2147483646}}
module attributes {moe.language_model = {vocabulary = 7 : i64, max_context = 8 : i64, moe_layers = array<i32: -1>}} {}

// -----

// expected-error @+1 {{unknown entry 'vocab' of 'moe.language_model'}}
module attributes {moe.language_model = {vocabulary = 7 : i64, max_context = 8 : i64, vocab = 7 : i64}} {}

// -----

// expected-error @+1 {{expected 'moe.summary' to be a string}}
func.func private @summary_not_a_string() attributes {moe.summary = 3 : i64}
