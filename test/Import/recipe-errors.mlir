// RUN: moe-opt %s -verify-diagnostics -split-input-file

// Tests that a source has a static shape.
// expected-error @+1 {{expected a recipe of static shape, got 'tensor<?x4xf32>'}}
ml_program.global private @w(#moe.source<"w", tensor<?x4xf32>>) : tensor<?x4xf32>

// -----

// Tests that a source has a name.
// expected-error @+1 {{expected the name of a tensor, got ''}}
ml_program.global private @w(#moe.source<"", tensor<4xf32>>) : tensor<4xf32>

// -----

// Tests that sizes which overflow are refused before anything is computed from them.
// expected-error @+1 {{expected a tensor of less than 2^63 bytes}}
ml_program.global private @w(#moe.source<"w", tensor<4611686018427387904x4xf32>>) : tensor<4x4xf32>

// -----

// Tests that elements have a size that files can hold.
// expected-error @+1 {{expected elements of 1, 8, 16, 32 or 64 bits, got 'i7'}}
ml_program.global private @w(#moe.source<"w", tensor<4xi7>>) : tensor<4xi7>

// -----

// Tests that parts of a stack have one type.
// expected-error @+1 {{expected parts of one type to stack, got 'tensor<4xf32>' and, as part 1, 'tensor<5xf32>'}}
ml_program.global private @w(#moe.stack<[#moe.source<"a", tensor<4xf32>>, #moe.source<"b", tensor<5xf32>>]>) : tensor<2x4xf32>

// -----

// Tests that joined parts differ in the first extent only.
// expected-error @+1 {{expected parts that differ in the first extent only, got 'tensor<4x2xf32>' and, as part 1, 'tensor<4x3xf32>'}}
ml_program.global private @w(#moe.concat<[#moe.source<"a", tensor<4x2xf32>>, #moe.source<"b", tensor<4x3xf32>>]>) : tensor<8x2xf32>

// -----

// Tests that a slice lies in its part.
// expected-error @+1 {{expected a slice within [0, 4), got offset 3 and size 2}}
ml_program.global private @w(#moe.slice<#moe.source<"a", tensor<4xf32>>, offset = 3, size = 2>) : tensor<2xf32>

// -----

// Tests that the last entry of a slice with a stride lies in its part; offset + stride * (size - 1) would overflow.
// expected-error @+1 {{expected a slice within [0, 4), got offset 1 and size 3, stride 9223372036854775807}}
ml_program.global private @w(#moe.slice<#moe.source<"a", tensor<4xf32>>, offset = 1, size = 3, stride = 9223372036854775807>) : tensor<3xf32>

// -----

// Tests that a slice goes forward.
// expected-error @+1 {{expected a slice within [0, 4), got offset 1 and size 2, stride 0}}
ml_program.global private @w(#moe.slice<#moe.source<"a", tensor<4xf32>>, offset = 1, size = 2, stride = 0>) : tensor<2xf32>

// -----

// Tests that a slice is along a dimension of its part.
// expected-error @+1 {{expected a part with dimension 1 to slice, got 'tensor<4xf32>'}}
ml_program.global private @w(#moe.slice<#moe.source<"a", tensor<4xf32>>, offset = 0, size = 2, dim = 1>) : tensor<2xf32>

// -----

// Tests that a transposition names each dimension once.
// expected-error @+1 {{expected a permutation of the 2 dimensions of the part}}
ml_program.global private @w(#moe.transpose<#moe.source<"a", tensor<4x3xf32>>, [0, 0]>) : tensor<4x4xf32>

// -----

// Tests that a reshape keeps the elements.
// expected-error @+1 {{expected as many elements of the same type, got 'tensor<4x3xf32>' reshaped to 'tensor<5xf32>'}}
ml_program.global private @w(#moe.reshape<#moe.source<"a", tensor<4x3xf32>>, tensor<5xf32>>) : tensor<5xf32>

// -----

// Tests that panels are made of matrices.
// expected-error @+1 {{expected a part [..., N, K] to pack, got 'tensor<4xf32>'}}
ml_program.global private @w(#moe.panels<#moe.source<"a", tensor<4xf32>>, width = 32>) : tensor<4xf32>

// -----

// Tests that a panel has a width.
// expected-error @+1 {{expected a panel width from 1 to 4096, got 0}}
ml_program.global private @w(#moe.panels<#moe.source<"a", tensor<4x4xf32>>, width = 0>) : tensor<4xf32>

// -----

// Tests that rows are there to be padded, and get no shorter.
// expected-error @+1 {{expected a part with rows to pad, got 'tensor<f32>'}}
ml_program.global private @w(#moe.pad<#moe.source<"a", tensor<f32>>, size = 8>) : tensor<8xf32>

// -----

// expected-error @+1 {{expected a part with rows to pad, got 'tensor<4x0xf32>'}}
ml_program.global private @w(#moe.pad<#moe.source<"a", tensor<4x0xf32>>, size = 8>) : tensor<4x8xf32>

// -----

// expected-error @+1 {{expected a padded size of at least 4, got 3}}
ml_program.global private @w(#moe.pad<#moe.source<"a", tensor<2x4xf32>>, size = 3>) : tensor<2x3xf32>

// -----

// expected-error @+1 {{expected a tensor of less than 2^63 bytes, got}}
ml_program.global private @w(#moe.pad<#moe.source<"a", tensor<4x4xf32>>, size = 4611686018427387904>) : tensor<4x4xf32>

// -----

// Tests that the components of a bank have as many experts each.
// expected-error @+1 {{expected 4 experts in each component, got 3 in component 1}}
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"a", tensor<4x2xf32>>, #moe.source<"b", tensor<3x2xf32>>]>) : !moe.bank<tensor<4x2xf32>, tensor<3x2xf32>>
