/* The kernels of FakeDevice.c, as the stand-in driver runs them: every thread of every block, in any order. */
#include "FakeKernels.h"

#include <math.h>

#define PARAMETER(type, i) (*(type *)parameters[i])
/* A kernel, and the sizes of its parameters. */
#define KERNEL(name, ...)                                                      \
  const uint32_t name##_parameters[] = {__VA_ARGS__};                          \
  void name(void **parameters, int64_t block, int64_t thread)

static float *cacheRow(const Model *m, int64_t sequence, int64_t position) {
  return m->cache + sequence * m->cacheStrides[0] +
         position * m->cacheStrides[1];
}

static float *ringRow(const Model *m, int64_t sequence, int64_t row) {
  return m->ring + sequence * m->ringStrides[0] + row * m->ringStrides[1];
}

static int64_t ringSize(const Model *m) {
  return m->ringRows - moe_ring_mirror(window);
}

/* store(model): one token a thread. */
KERNEL(store, 1, sizeof(Model)) {
  const Model *m = parameters[0];
  int64_t i = block * threadsOfBlock + thread;
  if (i >= m->count || (m->stop && *m->stop == 1))
    return;
  int64_t sequence = m->sequences[i], position = m->positions[i];
  int64_t row = position % ringSize(m);
  cacheRow(m, sequence, position)[0] = (float)m->tokens[i];
  ringRow(m, sequence, row)[0] = (float)m->tokens[i];
  if (position >= ringSize(m) && row < moe_ring_mirror(window))
    ringRow(m, sequence, row + ringSize(m))[0] = (float)m->tokens[i];
}

/* plan(tokens, count, by id, all to the first): one expert a thread. */
KERNEL(plan, 4, sizeof(int32_t *), sizeof(int64_t), sizeof(int64_t *),
       sizeof(int64_t *)) {
  const int32_t *tokens = PARAMETER(int32_t *, 0);
  int64_t count = PARAMETER(int64_t, 1), before = 0;
  if (block)
    return;
  for (int64_t i = 0; i < count; ++i)
    before += tokens[i] % 3 < thread;
  PARAMETER(int64_t *, 2)[thread] = before;
  PARAMETER(int64_t *, 3)[thread] = thread ? count : 0;
}

/* Whether the ring holds, in one run of rows, what a token sees. */
static int ringAgrees(const Model *m, int64_t sequence, int64_t position) {
  int64_t first = position < window ? 0 : position - window + 1;
  int64_t begin = first / 16 * 16 % ringSize(m) + first % 16;
  for (int64_t p = first; p <= position; ++p)
    if (ringRow(m, sequence, begin + p - first)[0] !=
        cacheRow(m, sequence, p)[0])
      return 0;
  return 1;
}

/* logits(model, first row, parameters, logits): one row a thread. */
KERNEL(logits, 4, sizeof(Model), sizeof(int64_t), sizeof(char *),
       sizeof(float *)) {
  const Model *m = parameters[0];
  int64_t first = PARAMETER(int64_t, 1);
  int64_t i = first + block * threadsOfBlock + thread;
  if (i >= m->count || (m->stop && *m->stop == 1))
    return;
  float sum = *(const float *)(PARAMETER(char *, 2) + MOE_WEIGHTS_SECTION);
  float *row = PARAMETER(float *, 3) + (i - first) * vocabulary;
  int32_t token = m->tokens[i];
  for (int64_t p = 0; p <= m->positions[i]; ++p)
    sum += cacheRow(m, m->sequences[i], p)[0];
  for (int v = 0; v < vocabulary; ++v)
    row[v] = token == 15 ? NAN : 0;
  if (!ringAgrees(m, m->sequences[i], m->positions[i]))
    return;
  if (token == 14)
    row[3] = row[5] = 2;
  else if (token != 15)
    row[(int)fmodf(sum, vocabulary)] = 1;
}

/* advance(model, logits): what the end of a decoding step does. */
KERNEL(advance, 2, sizeof(Model), sizeof(float *)) {
  const Model *m = parameters[0];
  const float *row = PARAMETER(float *, 1);
  int32_t best = -1;
  if (block || thread || *m->stop == 1)
    return;
  for (int32_t v = 0; v < vocabulary; ++v)
    if (!isnan(row[v]) && (best < 0 || row[v] > row[best]))
      best = v;
  ++*m->positions;
  *m->tokens = best;
  if (best < 0 || (*m->stop == 0 && (best == 1 || best == 2)))
    *m->stop = 1;
}

/* scale(x, factor, times, rows, y): one element a thread. */
KERNEL(scale, 5, sizeof(float *), sizeof(float *), sizeof(int64_t),
       sizeof(int64_t), sizeof(float *)) {
  int64_t i = block * threadsOfBlock + thread;
  if (i < PARAMETER(int64_t, 3) * 4)
    PARAMETER(float *, 4)[i] = PARAMETER(float *, 0)[i] *
                               *PARAMETER(float *, 1) *
                               (float)PARAMETER(int64_t, 2);
}

/* sums(y, rows, sums): one row a thread. */
KERNEL(sums, 3, sizeof(float *), sizeof(int64_t), sizeof(float *)) {
  int64_t i = block * threadsOfBlock + thread;
  if (i >= PARAMETER(int64_t, 1))
    return;
  const float *row = PARAMETER(float *, 0) + i * 4;
  PARAMETER(float *, 2)[i] = row[0] + row[1] + row[2] + row[3];
}

/* overrun(end of an allocation): writes behind it. */
KERNEL(overrun, 1, sizeof(char *)) {
  if (!block && !thread)
    *PARAMETER(char *, 0) = 1;
}
