/* A program as moe-compile would emit it, written by hand, so that the runtime
 * is tested without the compiler: a language model whose numbers are easy to
 * predict, and functions of every shape of argument.
 *
 * The model: the logits of a token at position p are all 0 but for
 *   id  = (bias + sum of the ids at positions 0..p of its sequence) mod 16
 * whose logit is 1, where bias is the first element of the weights. Id 15 makes
 * every logit NaN, id 14 makes ids 3 and 5 tie at 2, id 13 asks for more work
 * space than any machine has. The ids are kept in the cache as floats, so that
 * a call sees earlier ones only through it. A second cache is a ring with a
 * window of 3; logits are all 0 where it does not hold the latest ids.
 */
#include "moe/Runtime/Program.h"

#include <math.h>
#include <string.h>

enum { vocabulary = 16, max_context = 100, heads = 2, width = 4, window = 3 };

static float *element(const moe_descriptor *d) {
  return (float *)d->aligned + d->offset;
}

static float *cacheRow(const moe_descriptor *cache, int64_t sequence,
                       int64_t position) {
  return element(cache) + sequence * cache->sizes_and_strides[4] +
         position * cache->sizes_and_strides[5];
}

static int64_t ringSize(const moe_descriptor *ring) {
  return ring->sizes_and_strides[1] - moe_ring_mirror(window);
}

static void storeInRing(const moe_descriptor *ring, int64_t sequence,
                        int64_t position, float id) {
  int64_t size = ringSize(ring), row = position % size;
  cacheRow(ring, sequence, row)[0] = id;
  if (position >= size && row < moe_ring_mirror(window))
    cacheRow(ring, sequence, row + size)[0] = id;
}

/* Whether the ring holds, in one run of rows, what a token sees. */
static int ringAgrees(const moe_descriptor *ring, const moe_descriptor *cache,
                      int64_t sequence, int64_t position) {
  int64_t first = position < window ? 0 : position - window + 1;
  int64_t begin = first / 16 * 16 % ringSize(ring) + first % 16;
  for (int64_t p = first; p <= position; ++p)
    if (cacheRow(ring, sequence, begin + p - first)[0] !=
        cacheRow(cache, sequence, p)[0])
      return 0;
  return 1;
}

static void vectorResult(moe_descriptor *d, void *data, int64_t size) {
  d->allocated = d->aligned = data;
  d->offset = 0;
  d->sizes_and_strides[0] = size;
  d->sizes_and_strides[1] = 1;
}

static void matrixResult(moe_descriptor *d, void *data, int64_t rows,
                         int64_t columns) {
  d->allocated = d->aligned = data;
  d->offset = 0;
  d->sizes_and_strides[0] = rows;
  d->sizes_and_strides[1] = columns;
  d->sizes_and_strides[2] = columns;
  d->sizes_and_strides[3] = 1;
}

/* Two routing plans over three experts: by the id, and all to the first. */
static void recordLoads(const int32_t *tokens, int64_t count) {
  int64_t rows[3] = {0, 0, 0};
  for (int64_t i = 0; i < count; ++i)
    ++rows[tokens[i] % 3];
  int64_t byId[4] = {0, rows[0], rows[0] + rows[1], count};
  int64_t first[4] = {0, count, count, count};
  moe_record_load(byId, 3);
  moe_record_load(first, 3);
}

static void oneRow(float *row, const moe_descriptor *cache, float bias,
                   int32_t token, int64_t sequence, int64_t position) {
  float sum = bias;
  for (int64_t p = 0; p <= position; ++p)
    sum += cacheRow(cache, sequence, p)[0];
  for (int v = 0; v < vocabulary; ++v)
    row[v] = token == 15 ? NAN : 0;
  if (token == 14)
    row[3] = row[5] = 2;
  else if (token != 15)
    row[(int)fmodf(sum, vocabulary)] = 1;
}

/* forward(tokens, positions, sequences, first_row, cache, parameters, ring)
 *   -> (logits, cache, ring) */
static void forward(void **arguments) {
  const moe_descriptor *tokens = arguments[0], *positions = arguments[1],
                       *sequences = arguments[2], *cache = arguments[4],
                       *parameters = arguments[5], *ring = arguments[6];
  int64_t firstRow = *(const int64_t *)arguments[3];
  int64_t count = tokens->sizes_and_strides[0];
  const int32_t *id = tokens->aligned, *position = positions->aligned,
                *sequence = sequences->aligned;
  float bias = *(const float *)((char *)parameters->aligned + 4096);

  moe_profile_begin("store");
  int64_t mark = moe_workspace_mark();
  for (int64_t i = 0; i < count; ++i) {
    if (id[i] == 13)
      memset(_mlir_memref_to_llvm_alloc((size_t)1 << 60), 0, 1);
    float *scratch = _mlir_memref_to_llvm_alloc(sizeof(float) * width);
    scratch[0] = (float)id[i];
    cacheRow(cache, sequence[i], position[i])[0] = scratch[0];
    storeInRing(ring, sequence[i], position[i], scratch[0]);
    _mlir_memref_to_llvm_free(scratch);
  }
  moe_workspace_release(mark);
  moe_profile_end("store");

  recordLoads(id, count);
  moe_profile_begin("logits");
  int64_t rows = count - firstRow;
  float *logits = _mlir_memref_to_llvm_aligned_alloc(
      64, sizeof(float) * (size_t)(rows * vocabulary));
  for (int64_t i = firstRow; i < count; ++i)
    oneRow(logits + (i - firstRow) * vocabulary, cache, bias, id[i],
           sequence[i], position[i]);
  for (int64_t i = firstRow; i < count; ++i)
    if (!ringAgrees(ring, cache, sequence[i], position[i]))
      memset(logits + (i - firstRow) * vocabulary, 0,
             sizeof(float) * vocabulary);
  moe_profile_end("logits");
  matrixResult(arguments[7], logits, rows, vocabulary);
  *(moe_descriptor *)arguments[8] = *cache;
  *(moe_descriptor *)arguments[9] = *ring;
}

/* scale(x: f32[?, 4], factor: f32[], times: index) -> (y: f32[?, 4] = x *
 * factor * times, sums: f32[?] over the rows of y) */
static void scale(void **arguments) {
  const moe_descriptor *x = arguments[0];
  float factor = *element(arguments[1]) * (float)*(const int64_t *)arguments[2];
  int64_t rows = x->sizes_and_strides[0];
  float *y = _mlir_memref_to_llvm_alloc(sizeof(float) * (size_t)(rows * 4));
  float *sums = _mlir_memref_to_llvm_alloc(sizeof(float) * (size_t)rows);
  for (int64_t i = 0; i < rows; ++i) {
    sums[i] = 0;
    for (int64_t j = 0; j < 4; ++j) {
      y[i * 4 + j] = element(x)[i * 4 + j] * factor;
      sums[i] += y[i * 4 + j];
    }
  }
  matrixResult(arguments[3], y, rows, 4);
  vectorResult(arguments[4], sums, rows);
}

#ifdef _OPENMP
/* threads() -> i32[]: how many threads a parallel loop gets. */
static void threads(void **arguments) {
  int32_t *count = _mlir_memref_to_llvm_alloc(sizeof(int32_t));
  *count = 0;
#pragma omp parallel
#pragma omp atomic
  ++*count;
  moe_descriptor *result = arguments[0];
  result->allocated = result->aligned = count;
  result->offset = 0;
}
#endif

#include "FakeTables.h"
