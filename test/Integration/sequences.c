/* Runs calls with tokens of several sequences, as the C interface allows and
 * the command line does not.
 *
 *   sequences PIECE < calls > logits
 *
 * Each line of `calls` is one call of pairs SEQUENCE:ID; the logits of all its
 * rows follow each other as floats.
 */
#include "libmodel.h"

#include <stdio.h>
#include <stdlib.h>

enum { sequences = 4, most = 256 };

static void require(moe_status status, const char *message) {
  if (status == MOE_OK)
    return;
  fprintf(stderr, "error: %s\n", message);
  exit(1);
}

static void call(moe_session *session, int64_t vocabulary, const int32_t *ids,
                 const int32_t *owners, int64_t count) {
  float *logits = malloc((size_t)(count * vocabulary) * sizeof(*logits));
  if (!logits)
    exit(1);
  require(moe_session_forward(session, ids, NULL, owners, count, 0, logits,
                              count * vocabulary),
          moe_session_message(session));
  fwrite(logits, sizeof(*logits), (size_t)(count * vocabulary), stdout);
  free(logits);
}

int main(int argc, char **argv) {
  static int32_t ids[most], owners[most];
  char message[MOE_MESSAGE_SIZE];
  moe_session_options options = {0};
  moe_model *model;
  moe_session *session;
  int64_t count = 0;
  require(moe_open(NULL, &model, message, sizeof(message)), message);
  options.struct_size = sizeof(options);
  options.sequences = sequences;
  options.context = most;
  options.piece = argc > 1 ? atoi(argv[1]) : 0;
  options.poison_cache = 1;
  require(moe_session_create(model, &options, &session, message,
                             sizeof(message)),
          message);
  int64_t vocabulary = moe_model_program(model)->vocabulary;
  int owner, id;
  while (count < most && scanf("%d:%d", &owner, &id) == 2) {
    owners[count] = owner;
    ids[count++] = id;
    int next = getchar();
    if (next != '\n' && next != EOF)
      continue;
    call(session, vocabulary, ids, owners, count);
    count = 0;
  }
  moe_session_destroy(session);
  return moe_close(model) == MOE_OK ? 0 : 1;
}
