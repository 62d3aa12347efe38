/* What the device program written by hand and its kernels agree on. */
#ifndef MOE_TEST_RUNTIME_FAKEKERNELS_H
#define MOE_TEST_RUNTIME_FAKEKERNELS_H

#include "moe/Runtime/Program.h"

enum { vocabulary = 16, max_context = 100, heads = 2, width = 4, window = 3, threadsOfBlock = 4 };

/* What kernels of the model take as their first parameter, by value. */
typedef struct Model {
  int32_t *tokens, *positions, *sequences;
  int32_t *stop; /* null in `forward` */
  int64_t count;
  float *cache;
  int64_t cacheStrides[2];
  float *ring;
  int64_t ringStrides[2], ringRows;
} Model;

enum { STORE, PLAN, LOGITS, ADVANCE, SCALE, SUMS, OVERRUN, num_kernels };

#endif
