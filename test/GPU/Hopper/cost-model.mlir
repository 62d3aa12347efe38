// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper=print-decisions=true -o /dev/null 2>&1 | FileCheck %s

// Tests that tiles grow with the rows of an expert, at the sizes of published models: few rows to a tile while weights
// are what takes the time, and tiles that an expert fills when it is the product.

// CHECK: qwen3_decode: 128 x [768, 2048] x 1, 4.8 rows per expert: 16 tokens, 8 stages
func.func private @qwen3_decode(memref<?x2048xbf16>, memref<128x768x2048xbf16>, memref<129xi32>, memref<?xi8>,
    memref<?x768xbf16>) attributes {hopper.grouped_matmul = {rows_per_expert = 4.8}}

// CHECK: deepseek: 256 x [2048, 7168] x 1, 16.0 rows per expert: 24 tokens, 8 stages
func.func private @deepseek(memref<?x7168xbf16>, memref<256x2048x7168xbf16>, memref<257xi32>, memref<?xi8>,
    memref<?x2048xbf16>) attributes {hopper.grouped_matmul = {rows_per_expert = 16.0}}

// Tests that a product for any number of rows says up to how many each tile is used, and that tiles may come back.
// CHECK: any up to {{[0-9]+}} rows: 8 x [768, 2048] x 1, {{.+}}: 8 tokens
// CHECK: any up to {{[0-9]+}} rows: {{.+}}: 16 tokens
// CHECK: any up to {{[0-9]+}} rows: {{.+}}: 256 tokens
// CHECK: any up to {{[0-9]+}} rows: {{.+}}: 160 tokens
// CHECK: any up to 65536 rows: {{.+}}: 256 tokens
func.func private @any(memref<?x2048xbf16>, memref<8x768x2048xbf16>, memref<9xi32>, memref<?xi8>,
    memref<?x768xbf16>) attributes {hopper.grouped_matmul = {max_rows = 65536}}

// CHECK: mixtral: 8 x [14336, 4096] x 1, 1024.0 rows per expert: 256 tokens, 4 stages
func.func private @mixtral(memref<?x4096xbf16>, memref<8x14336x4096xbf16>, memref<9xi32>, memref<?xi8>,
    memref<?x14336xbf16>) attributes {hopper.grouped_matmul = {rows_per_expert = 1024.0}}
