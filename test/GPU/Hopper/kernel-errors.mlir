// RUN: not moe-opt %s -moe-gpu-hopper-kernel="tile-n=12" 2>&1 | FileCheck %s --check-prefix=TILE
// TILE: no grouped product 'product' on tensor cores: expected a token tile that is a multiple of 8 up to 256, got 12

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="tile-n=264" 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: expected a token tile that is a multiple of 8 up to 256, got 264

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="stages=2" 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: expected at least 3 stages, got 2

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="tile-n=256 stages=5" 2>&1 | FileCheck %s --check-prefix=SHARED
// SHARED: needs 250960 bytes of shared memory; a block can have 232448

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="banks=3" 2>&1 | FileCheck %s --check-prefix=BANKS
// BANKS: expected one or two banks, got 3

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="banks=2" 2>&1 | FileCheck %s --check-prefix=EPILOGUE
// EPILOGUE: expected an epilogue for two banks or vectors

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="columns=0" 2>&1 | FileCheck %s --check-prefix=EMPTY
// EMPTY: expected K and columns of at least 1

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="columns=64 out-pitch=60" 2>&1 | FileCheck %s --check-prefix=PITCH
// PITCH: expected output rows at least 64 elements apart, got 60

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="epilogue=missing" 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: no function 'missing' for the epilogue

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="epilogue=sine" 2>&1 | FileCheck %s --check-prefix=SINE
// SINE: 'math.sin' op has no form in an epilogue on tensor cores
func.func private @sine(%x: f32) -> f32 {
  %r = math.sin %x : f32
  return %r : f32
}

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="banks=2 epilogue=one_input" 2>&1 | FileCheck %s --check-prefix=INPUTS
// INPUTS: expected an epilogue of one block from 2 f32 values to one
func.func private @one_input(%x: f32) -> f32 {
  return %x : f32
}

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="epilogue=double" 2>&1 | FileCheck %s --check-prefix=DOUBLE
// DOUBLE: expected an epilogue of one block from 1 f32 values to one
func.func private @double(%x: f64) -> f64 {
  return %x : f64
}

// RUN: not moe-opt %s -moe-gpu-hopper-kernel="experts=40000" 2>&1 | FileCheck %s --check-prefix=EXPERTS
// EXPERTS: no tile map of 40000 experts in one block
