// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper -split-input-file -verify-diagnostics | FileCheck %s

// Tests that what tensor cores cannot do is left alone, with the reason.

// CHECK-LABEL: func.func private @rows_of_banks(
// CHECK-SAME: hopper.grouped_matmul
// expected-remark@below {{not on tensor cores: expected rows of banks that are at least K = 100 elements and a multiple of 8 apart, got 100}}
func.func private @rows_of_banks(memref<?x100xbf16, strided<[104, 1]>>, memref<2x64x100xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xbf16>)
  attributes {hopper.grouped_matmul = {rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @f32_tokens(
// expected-remark@below {{not on tensor cores: expected tokens and banks of bf16}}
func.func private @f32_tokens(memref<?x64xf32>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @three_banks(
// expected-remark@below {{not on tensor cores: expected one or two banks, got 3}}
func.func private @three_banks(memref<?x64xbf16>, memref<2x64x64xbf16>, memref<2x64x64xbf16>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {banks = 3, rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @unequal_banks(
// expected-remark@below {{not on tensor cores: expected banks of one type}}
func.func private @unequal_banks(memref<?x64xbf16>, memref<2x64x64xbf16>, memref<2x64x64xbf16, strided<[5120, 80, 1]>>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {banks = 2, rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @other_k(
// expected-remark@below {{not on tensor cores: expected banks of static size that match tokens and output}}
func.func private @other_k(memref<?x64xbf16>, memref<2x64x72xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @offset(
// expected-remark@below {{not on tensor cores: expected rows at a constant distance from the buffer's beginning on}}
func.func private @offset(memref<?x64xbf16, strided<[64, 1], offset: 8>>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {rows_per_expert = 1.0}}

// -----

// CHECK-LABEL: func.func private @rows(
// expected-remark@below {{not on tensor cores: a call may have 2147483647 rows, more than its kernels can count}}
func.func private @rows(memref<?x64xbf16>, memref<2x64x64xbf16>, memref<3xi32>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {max_rows = 2147483647}}

// -----

// Tests the number of work items, tiles of 8 rows times 9 of columns; then of 16-byte pieces, 2^27 rows of 2^5.
// CHECK-LABEL: func.func private @items(
// expected-remark@below {{not on tensor cores: a call may have 2147480000 rows, more than its kernels can count}}
func.func private @items(memref<?x8xbf16>, memref<1x1152x8xbf16>, index, memref<?x1152xbf16>)
  attributes {hopper.grouped_matmul = {dense, max_rows = 2147480000}}

// -----

// CHECK-LABEL: func.func private @pieces(
// expected-remark@below {{not on tensor cores: a call may have 134217728 rows, more than its kernels can count}}
func.func private @pieces(memref<?x256xbf16>, memref<1x64x256xbf16>, index, memref<?x64xbf16>)
  attributes {hopper.grouped_matmul = {dense, max_rows = 134217728}}

// -----

// One row fewer can be counted.
// CHECK: func.func private @most(
// CHECK-NOT: hopper.grouped_matmul
// CHECK: call @moe_gpu_launch
func.func private @most(memref<?x256xbf16>, memref<1x64x256xbf16>, index, memref<?x64xbf16>)
  attributes {hopper.grouped_matmul = {dense, max_rows = 134217727}}
