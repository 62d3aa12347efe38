/* An example of embedding a compiled program: links a library that moe-compile
 * made with --emit=shared, and runs what it holds.
 *
 *   cc embed.c libmodel.so -Wl,-rpath,'$ORIGIN' -o embed
 *   ./embed 1 2 3      continues the ids 1 2 3 by four more, greedily
 *   ./embed            calls the first function with inputs of ones
 *
 * The weights are found beside the library, wherever the executable lies.
 */
#include "moe/Runtime/Runtime.h"

#include <stdio.h>
#include <stdlib.h>

static void require(moe_status status, const char *message) {
  if (status == MOE_OK)
    return;
  fprintf(stderr, "error: %s\n", message);
  exit(1);
}

/* The id with the largest logit. */
static int32_t greedy(const float *logits, int64_t vocabulary) {
  int64_t best = 0;
  for (int64_t i = 1; i < vocabulary; ++i)
    if (logits[i] > logits[best])
      best = i;
  return (int32_t)best;
}

static void generate(moe_session *session, int64_t vocabulary, int count,
                     char **words) {
  int32_t *ids = malloc((size_t)count * sizeof(*ids));
  float *logits = malloc((size_t)vocabulary * sizeof(*logits));
  if (!ids || !logits)
    exit(1);
  for (int i = 0; i < count; ++i)
    ids[i] = (int32_t)strtol(words[i], NULL, 10);
  /* The whole prompt at once, logits of its last token only. */
  require(moe_session_forward(session, ids, NULL, NULL, count, count - 1,
                              logits, vocabulary),
          moe_session_message(session));
  for (int i = 0; i < 4; ++i) {
    int32_t next = greedy(logits, vocabulary);
    printf("%s%d", i ? " " : "", next);
    /* One token more: the session remembers those before. */
    require(moe_session_forward(session, &next, NULL, NULL, 1, 0, logits,
                                vocabulary),
            moe_session_message(session));
  }
  printf("\n");
  free(logits);
  free(ids);
}

/* A tensor of ones that fits the description, with 2 for dynamic extents. */
static moe_tensor ones(const moe_value_info *value) {
  moe_tensor tensor = {0};
  size_t count = 1;
  tensor.element_type = value->element_type;
  tensor.rank = value->rank;
  for (uint32_t i = 0; i < value->rank; ++i) {
    tensor.shape[i] = value->shape[i] == MOE_DYNAMIC ? 2 : value->shape[i];
    count *= (size_t)tensor.shape[i];
  }
  if (value->element_type == MOE_F32) {
    float *data = malloc((count ? count : 1) * sizeof(float));
    for (size_t i = 0; data && i < count; ++i)
      data[i] = 1;
    tensor.data = data;
  } else if (value->element_type == MOE_I64) {
    int64_t *data = malloc((count ? count : 1) * sizeof(int64_t));
    for (size_t i = 0; data && i < count; ++i)
      data[i] = 1;
    tensor.data = data;
  }
  if (!tensor.data)
    require(MOE_INVALID_ARGUMENT, "this example passes f32 and i64 only");
  return tensor;
}

static void call(moe_session *session, const moe_function_info *function) {
  moe_tensor inputs[16], outputs[16] = {{0}};
  size_t num_inputs = 0, num_outputs = 0;
  for (uint32_t i = 0; i < function->num_inputs && num_inputs < 16; ++i)
    if (function->inputs[i].role == MOE_ROLE_DATA)
      inputs[num_inputs++] = ones(&function->inputs[i]);
  for (uint32_t i = 0; i < function->num_outputs && num_outputs < 16; ++i)
    num_outputs += function->outputs[i].role == MOE_ROLE_DATA;
  require(moe_session_call(session, function->name, inputs, num_inputs, outputs,
                           num_outputs),
          moe_session_message(session));
  printf("%s:", function->name);
  for (size_t i = 0; i < num_outputs; ++i)
    if (outputs[i].element_type == MOE_F32)
      printf(" %g", ((const float *)outputs[i].data)[0]);
  printf("\n");
  for (size_t i = 0; i < num_inputs; ++i)
    free(inputs[i].data);
}

int main(int argc, char **argv) {
  char message[MOE_MESSAGE_SIZE];
  moe_model *model;
  moe_session *session;
  require(moe_open(NULL, &model, message, sizeof(message)), message);
  require(moe_session_create(model, NULL, &session, message, sizeof(message)),
          message);
  const moe_program_info *program = moe_model_program(model);
  if (argc > 1) {
    generate(session, program->vocabulary, argc - 1, argv + 1);
  } else {
    uint32_t i = 0;
    while (i < program->num_functions &&
           program->functions[i].inputs[0].role != MOE_ROLE_DATA)
      ++i;
    if (i == program->num_functions)
      require(MOE_INVALID_ARGUMENT, "the program has no function to call");
    call(session, &program->functions[i]);
  }
  require(moe_session_destroy(session), "session is busy");
  require(moe_close(model), "model is busy");
  return 0;
}
