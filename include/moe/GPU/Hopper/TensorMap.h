/*===- TensorMap.h - What generated code asks of the runtime ------*- C -*-===*
 *
 * Tensor maps are made by the driver on the host. Programs with products on tensor cores call this function of the
 * runtime before a launch.
 *
 *===----------------------------------------------------------------------===*/

#ifndef MOE_GPU_HOPPER_TENSORMAP_H
#define MOE_GPU_HOPPER_TENSORMAP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of `element` and `swizzle`. */
#define MOE_TENSOR_MAP_BF16 9       /* CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 */
#define MOE_TENSOR_MAP_SWIZZLE_128 3 /* CU_TENSOR_MAP_SWIZZLE_128B */

/* Writes the 128 bytes of a CUtensorMap to `map`, which is aligned to 64 bytes, as cuTensorMapEncodeTiled does: no
 * interleaving, element strides of 1, L2 promotion of 128 bytes, zeros for what lies outside.
 *   memory    device memory, aligned to 16 bytes
 *   rank      dimensions, the innermost first in all arrays
 *   sizes     elements of each dimension, rank of them; none is 0 (generated code passes 1 for an empty buffer and
 *             launches no work on it)
 *   strides   bytes from one index to the next of each dimension but the innermost, rank - 1 of them; multiples of 16
 *   box       elements of one copy in each dimension, rank of them
 * The map is handed to moe_gpu_launch as a parameter: parameters[i] points to the 128 bytes, which are read before the
 * launch returns. An error counts as an error of the call, like one of moe_gpu_launch. */
void moe_gpu_tensor_map(void *map, void *memory, uint32_t element, uint32_t rank, const uint64_t *sizes,
                        const uint64_t *strides, const uint32_t *box, uint32_t swizzle);

#ifdef __cplusplus
}
#endif

#endif /* MOE_GPU_HOPPER_TENSORMAP_H */
