// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper -split-input-file -verify-diagnostics

// expected-error@below {{expected 'hopper.grouped_matmul' to be a dictionary}}
func.func private @attribute(memref<?x64xbf16>) attributes {hopper.grouped_matmul}

// -----

// expected-error@below {{expected either 'rows_per_expert' or 'max_rows' above 0 in 'hopper.grouped_matmul'}}
func.func private @rows(memref<?x64xbf16>) attributes {hopper.grouped_matmul = {rows_per_expert = 0.0}}

// -----

// expected-error@below {{expected either 'rows_per_expert' or 'max_rows' above 0 in 'hopper.grouped_matmul'}}
func.func private @both(memref<?x64xbf16>) attributes {hopper.grouped_matmul = {max_rows = 8, rows_per_expert = 1.0}}

// -----

// expected-error@below {{expected tokens, indices, 2 banks, 1 vectors, offsets, tile map and output as arguments, and no result}}
func.func private @arguments(memref<?x64xbf16>)
  attributes {hopper.grouped_matmul = {banks = 2, vectors = 1, gathered, rows_per_expert = 1.0}}

// -----

// expected-error@below {{expected argument 1, the bank, to be a memref of rank 3}}
func.func private @rank(memref<?x64xbf16>, memref<64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {rows_per_expert = 1.0}}

// -----

// expected-error@below {{expected argument 2, the number of rows, to be an index}}
func.func private @dense_rows(memref<?x64xbf16>, memref<1x64x64xbf16>, memref<2xi32>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {dense, rows_per_expert = 1.0}}

// -----

// expected-error@below {{expected dense rows to be of one expert, got 2}}
func.func private @dense_experts(memref<?x64xbf16>, memref<2x64x64xbf16>, index, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {dense, rows_per_expert = 1.0}}

// -----

// expected-error@below {{expected tokens, 1 banks, 0 vectors, the number of rows and output as arguments, and no result}}
func.func private @dense_arguments(memref<?x64xbf16>, memref<1x64x64xbf16>, memref<2xi32>, memref<?xi8>,
    memref<?x64xf32>) attributes {hopper.grouped_matmul = {dense, rows_per_expert = 1.0}}

// -----

// expected-error@below {{no function @missing for the epilogue}}
func.func private @epilogue(memref<?x64xbf16>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {epilogue = @missing, rows_per_expert = 1.0}}

// -----

func.func private @sine(%x: f32) -> f32 {
  // expected-error@below {{'math.sin' op has no form in an epilogue on tensor cores}}
  %r = math.sin %x : f32
  return %r : f32
}
func.func private @operation(memref<?x64xbf16>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {epilogue = @sine, rows_per_expert = 1.0}}
