/* An example of embedding a language model: a library that moe-compile made with --emit=shared, and the header
 * beside it. Every line of standard input is a conversation of its own: ids that are continued greedily. All of
 * them share one mapping of the weights, and each has a session with its own cache.
 *
 *   moe-compile CHECKPOINT --emit=shared -o libmodel.so
 *   cc embed.c libmodel.so -Wl,-rpath,'$ORIGIN' -o embed
 *   printf '1 2 3\n4 5\n' | ./embed 8
 */
#include "libmodel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { max_prompt = 1024, max_conversations = 8 };

struct conversation {
  moe_session *session;
  int32_t prompt[max_prompt];
  int64_t length;
  int32_t next; /* the id with the largest of the last logits */
};

static void require(moe_status status, const char *message) {
  if (status == MOE_OK)
    return;
  fprintf(stderr, "error: %s\n", message);
  exit(1);
}

/* Gives the model ids that it has not seen yet; the session remembers those before. Only the logits of the last
 * one are computed. */
static void feed(struct conversation *c, const int32_t *ids, int64_t count,
                 float *logits, int64_t vocabulary) {
  require(moe_session_forward(c->session, ids, NULL, NULL, count, count - 1,
                              logits, vocabulary),
          moe_session_message(c->session));
  c->next = 0;
  for (int64_t id = 1; id < vocabulary; ++id)
    if (logits[id] > logits[c->next])
      c->next = (int32_t)id;
}

static int readPrompt(struct conversation *c) {
  char line[16 * max_prompt];
  if (!fgets(line, sizeof(line), stdin))
    return 0;
  c->length = 0;
  for (char *word = strtok(line, " \n"); word && c->length < max_prompt;
       word = strtok(NULL, " \n"))
    c->prompt[c->length++] = (int32_t)strtol(word, NULL, 10);
  return c->length > 0;
}

int main(int argc, char **argv) {
  static struct conversation conversations[max_conversations];
  char message[MOE_MESSAGE_SIZE];
  int steps = argc > 1 ? atoi(argv[1]) : 8, count = 0;

  /* The weights are found beside the library and mapped once. */
  moe_model *model;
  require(moe_open(NULL, &model, message, sizeof(message)), message);
  int64_t vocabulary = moe_model_program(model)->vocabulary;
  float *logits = malloc((size_t)vocabulary * sizeof(float));
  if (!logits)
    return 1;

  /* Prefill: each prompt in one call. */
  while (count < max_conversations && readPrompt(&conversations[count])) {
    struct conversation *c = &conversations[count++];
    moe_session_options options = {sizeof(options), 0, 0, 0, 0, 0, 0, 0, 0};
    options.context = c->length + steps; /* room for what will be said */
    require(moe_session_create(model, &options, &c->session, message,
                               sizeof(message)),
            message);
    feed(c, c->prompt, c->length, logits, vocabulary);
  }

  /* Decode: an id at a time, the conversations taking turns. */
  for (int step = 0; step < steps; ++step)
    for (int i = 0; i < count; ++i) {
      struct conversation *c = &conversations[i];
      printf("%d: %d\n", i, c->next);
      if (step + 1 < steps) {
        int32_t id = c->next;
        feed(c, &id, 1, logits, vocabulary);
      }
    }

  for (int i = 0; i < count; ++i)
    require(moe_session_destroy(conversations[i].session), "session is busy");
  require(moe_close(model), "model is busy");
  free(logits);
  return 0;
}
