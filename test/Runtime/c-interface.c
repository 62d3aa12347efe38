/* Tests of the C interface that the command line does not reach: several
 * sequences and sessions, rewinding, threads, outputs in the caller's memory,
 * and what is said about calls that have no meaning. Links the fake program as
 * a shared library, so its expectations follow FakeProgram.c; bias is 2.
 */
#include "Expect.h"
#include "moe/Runtime/Runtime.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { vocabulary = 16 };

static moe_model *openModel(void) {
  char message[MOE_MESSAGE_SIZE] = "";
  moe_model *model = NULL;
  if (moe_open(NULL, &model, message, sizeof(message)) != MOE_OK)
    fprintf(stderr, "moe_open: %s\n", message);
  return model;
}

static moe_session *makeSessionWith(moe_model *model, int64_t context,
                                    int64_t sequences, uint32_t recordLoad) {
  moe_session_options options = {0};
  moe_session *session = NULL;
  char message[MOE_MESSAGE_SIZE] = "";
  options.struct_size = sizeof(options);
  options.context = context;
  options.sequences = sequences;
  options.record_load = recordLoad;
  if (moe_session_create(model, &options, &session, message, sizeof(message)) !=
      MOE_OK)
    fprintf(stderr, "moe_session_create: %s\n", message);
  return session;
}

static moe_session *makeSession(moe_model *model, int64_t context,
                                int64_t sequences) {
  return makeSessionWith(model, context, sequences, 1);
}

/* The id whose logit is 1, -1 if that is not true of exactly one. */
static int chosen(const float *logits) {
  int found = -1;
  for (int i = 0; i < vocabulary; ++i)
    if (logits[i] == 1)
      found = found < 0 ? i : -2;
  return found;
}

static void testOpening(void) {
  char message[MOE_MESSAGE_SIZE];
  moe_model *model = (moe_model *)message;
  moe_open_options options = {0};
  EXPECT(moe_open(NULL, NULL, message, sizeof(message)) ==
         MOE_INVALID_ARGUMENT);
  EXPECT(moe_open(&options, &model, message, sizeof(message)) ==
         MOE_INVALID_ARGUMENT);
  EXPECT(model == NULL && strstr(message, "struct_size is 0, expected sizeof"));
  options.struct_size = sizeof(options);
  options.weights = "/none/weights";
  EXPECT(moe_open(&options, &model, NULL, 0) == MOE_FILE_ERROR);
  /* A short buffer gets a short, ended message. */
  EXPECT(moe_open(&options, &model, message, 7) == MOE_FILE_ERROR);
  EXPECT(!strcmp(message, "cannot"));
  EXPECT(moe_close(NULL) == MOE_OK && moe_session_destroy(NULL) == MOE_OK);
}

static void testSessionOptions(moe_model *model) {
  char message[MOE_MESSAGE_SIZE];
  moe_session *session = NULL;
  moe_session_options options = {0};
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_INVALID_ARGUMENT);
  options.struct_size = sizeof(options);
  options.context = 101;
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_INVALID_ARGUMENT);
  EXPECT(strstr(message, "context is 101, expected 1 to 100"));
  options.context = -1;
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_INVALID_ARGUMENT);
  options.context = 1;
  options.sequences = (1 << 20) + 1;
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_INVALID_ARGUMENT);
  EXPECT(strstr(message, "sequences is 1048577, expected 1 to 1048576"));
  EXPECT(session == NULL);
}

/* Tokens of two sequences in one call, then each continued on its own. */
static void testSequences(moe_model *model) {
  moe_session *session = makeSession(model, 10, 3);
  float logits[6 * vocabulary];
  int64_t length = -1;
  int32_t tokens[] = {1, 4, 2, 5}, sequences[] = {0, 2, 0, 2};
  EXPECT(moe_session_forward(session, tokens, NULL, sequences, 4, 0, logits,
                             4 * vocabulary) == MOE_OK);
  EXPECT(chosen(logits) == 3 && chosen(logits + vocabulary) == 6);
  EXPECT(chosen(logits + 2 * vocabulary) == 5);
  EXPECT(chosen(logits + 3 * vocabulary) == 11);
  int32_t more[] = {3, 3}, to[] = {2, 0};
  EXPECT(moe_session_forward(session, more, NULL, to, 2, 0, logits,
                             2 * vocabulary) == MOE_OK);
  EXPECT(chosen(logits) == 14 && chosen(logits + vocabulary) == 8);
  EXPECT(moe_session_length(session, 0, &length) == MOE_OK && length == 3);
  EXPECT(moe_session_length(session, 1, &length) == MOE_OK && length == 0);
  EXPECT_ERROR(session, moe_session_length(session, 3, &length),
               MOE_INVALID_ARGUMENT, "sequence is 3, expected 0 to 2");

  /* Rewinding to position 1 forgets what stood from there on. */
  int32_t again[] = {9}, position[] = {1}, zero[] = {0};
  EXPECT(moe_session_forward(session, again, position, zero, 1, 0, logits,
                             vocabulary) == MOE_OK);
  EXPECT(chosen(logits) == 12);
  EXPECT(moe_session_length(session, 0, &length) == MOE_OK && length == 2);
  EXPECT(moe_session_reset(session) == MOE_OK);
  EXPECT(moe_session_length(session, 2, &length) == MOE_OK && length == 0);

  /* Logits of the last rows only, and of none. */
  EXPECT(moe_session_forward(session, tokens, NULL, NULL, 4, 3, logits,
                             vocabulary) == MOE_OK);
  EXPECT(chosen(logits) == 14);
  EXPECT(moe_session_forward(session, tokens, NULL, NULL, 4, 4, NULL, 0) ==
         MOE_OK);
  EXPECT(moe_session_length(session, 0, &length) == MOE_OK && length == 8);
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

/* A ring of 16 rows, which pieces of 4 with a window of 3 need, after three
 * turns: whatever is cut how, and what it has forgotten. */
static void testRing(moe_model *model) {
  enum { count = 50 };
  char message[MOE_MESSAGE_SIZE];
  float logits[count * vocabulary];
  int32_t tokens[count], positions[count];
  moe_session_options options = {0};
  moe_session *session = NULL;
  options.struct_size = sizeof(options);
  options.piece = -1;
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_INVALID_ARGUMENT);
  EXPECT(strstr(message, "piece is -1, expected 1 to 2147483647"));
  options.piece = 4;
  options.poison_cache = 1;
  EXPECT(moe_session_create(model, &options, &session, message,
                            sizeof(message)) == MOE_OK);
  int sum = 2;
  for (int i = 0; i < count; ++i) {
    tokens[i] = i * 5 % 13;
    positions[i] = i;
  }
  EXPECT(moe_session_forward(session, tokens, NULL, NULL, count, 0, logits,
                             count * vocabulary) == MOE_OK);
  for (int i = 0; i < count; ++i) {
    sum += tokens[i];
    EXPECT(chosen(logits + i * vocabulary) == sum % vocabulary);
  }
  /* Rows before first_row are in other pieces than the first of the rest. */
  EXPECT(moe_session_forward(session, tokens, positions, NULL, count, count - 6,
                             logits, 6 * vocabulary) == MOE_OK);
  EXPECT(chosen(logits + 5 * vocabulary) == sum % vocabulary);

#define AT(position)                                                           \
  moe_session_forward(session, tokens + (position), positions + (position),    \
                      NULL, 1, 0, logits, vocabulary)
  /* The ring holds positions 34 to 49; a token sees two before itself. */
  EXPECT_ERROR(session, AT(35), MOE_INVALID_ARGUMENT,
               "token 0 has position 35 of a sequence that had 50: layers with "
               "a window have forgotten what it sees");
  EXPECT(AT(36) == MOE_OK);
  EXPECT_ERROR(session, AT(35), MOE_INVALID_ARGUMENT, "a sequence that had 50");
  EXPECT(AT(37) == MOE_OK && AT(0) == MOE_OK && AT(1) == MOE_OK);
  EXPECT(chosen(logits) == (2 + tokens[0] + tokens[1]) % vocabulary);
#undef AT
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

static void testForwardErrors(moe_model *model) {
  moe_session *session = makeSession(model, 4, 2);
  float logits[4 * vocabulary];
  int32_t tokens[] = {1, 2, 3, 4, 5}, bad[] = {1, 16};
#ifndef FAKE_DEVICE
  int32_t huge[] = {13};
#endif
#define FORWARD(tokens, positions, sequences, count, first, capacity)          \
  moe_session_forward(session, tokens, positions, sequences, count, first,     \
                      logits, capacity)
  EXPECT_ERROR(session, FORWARD(tokens, NULL, NULL, 0, 0, 64),
               MOE_INVALID_ARGUMENT, "got 0 tokens");
  EXPECT_ERROR(session, FORWARD(tokens, NULL, NULL, -1, 0, 64),
               MOE_INVALID_ARGUMENT, "got -1 tokens");
  EXPECT_ERROR(session, FORWARD(tokens, NULL, NULL, 2, 3, 64),
               MOE_INVALID_ARGUMENT, "first_row is 3, expected 0 to 2");
  EXPECT_ERROR(session, FORWARD(tokens, NULL, NULL, 2, 0, 31),
               MOE_INVALID_ARGUMENT, "room for 31 floats, expected 2 rows");
  EXPECT_ERROR(session, FORWARD(bad, NULL, NULL, 2, 1, 64),
               MOE_INVALID_ARGUMENT, "token 1 is 16, expected an id from 0");
  EXPECT_ERROR(session, FORWARD(tokens, NULL, NULL, 5, 4, 64),
               MOE_INVALID_ARGUMENT, "position 4, the context holds 4");
  int32_t sequences[] = {0, 2}, gap[] = {0, 2}, late[] = {1}, back[] = {1, 0};
  EXPECT_ERROR(session, FORWARD(tokens, NULL, sequences, 2, 1, 64),
               MOE_INVALID_ARGUMENT, "token 1 is of sequence 2, expected 0");
  EXPECT_ERROR(session, FORWARD(tokens, gap, NULL, 2, 1, 64),
               MOE_INVALID_ARGUMENT, "token 1 has position 2, expected 1");
  EXPECT_ERROR(session, FORWARD(tokens, late, NULL, 1, 0, 64),
               MOE_INVALID_ARGUMENT, "token 0 has position 1, expected 0 to 0");
  EXPECT(FORWARD(tokens, NULL, NULL, 1, 0, 64) == MOE_OK);
  EXPECT_ERROR(session, FORWARD(tokens, back, NULL, 2, 0, 64),
               MOE_INVALID_ARGUMENT, "token 1 has position 0, expected 2");

#ifndef FAKE_DEVICE /* Host code cannot see ids there. */
  /* Out of memory in the middle of generated code leaves a usable session. */
  EXPECT_ERROR(session, FORWARD(huge, NULL, NULL, 1, 0, 64), MOE_OUT_OF_MEMORY,
               "'forward' asked for");
#endif
  EXPECT(FORWARD(tokens + 1, NULL, NULL, 1, 0, 64) == MOE_OK);
  EXPECT(chosen(logits) == 5 && !*moe_session_message(session));
  EXPECT(moe_close(model) == MOE_BUSY);
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

/* Greedy continuations equal what forward says token by token. On a device, those that record loads go call by call,
 * and others by a graph. */
static void testGenerate(moe_model *model, uint32_t recordLoad) {
  enum { count = 40 };
  moe_session *session = makeSessionWith(model, 64, 2, recordLoad);
  int32_t prompt[] = {3, 1, 4}, ids[64], first;
  int64_t produced = -1, length = -1;
  float logits[vocabulary];
  for (int32_t sequence = 1; sequence >= 0; --sequence) {
    int32_t of[] = {sequence, sequence, sequence};
    EXPECT(moe_session_forward(session, prompt, NULL, of, 3, 2, logits,
                               vocabulary) == MOE_OK);
    first = chosen(logits);
    EXPECT(moe_session_generate(session, sequence, first, count, 0, ids,
                                &produced) == MOE_OK);
    EXPECT(produced == count && first == 10);
    EXPECT(moe_session_length(session, sequence, &length) == MOE_OK &&
           length == 3 + count);
    /* 2 + 3 + 1 + 4 + 10, and every id that follows doubles the sum. */
    int sum = 20;
    for (int i = 0; i < count; sum += ids[i++])
      EXPECT(ids[i] == sum % vocabulary);
  }
  /* Goes on where it ended, and can be started again. */
  EXPECT(moe_session_forward(session, prompt, NULL, NULL, 1, 0, logits,
                             vocabulary) == MOE_OK);
  EXPECT(chosen(logits) == 3);
  EXPECT(moe_session_reset(session) == MOE_OK);

  /* 1 is an end of text: 2 + 15 - 16. Without being told, it goes on. */
  int32_t end[] = {12, 3};
  EXPECT(moe_session_forward(session, end, NULL, NULL, 1, 1, NULL, 0) ==
         MOE_OK);
  EXPECT(moe_session_generate(session, 0, 3, count, 1, ids, &produced) ==
         MOE_OK);
  EXPECT(produced == 1 && ids[0] == 1);
  EXPECT(moe_session_length(session, 0, &length) == MOE_OK && length == 2);
  EXPECT(moe_session_generate(session, 0, 1, 3, 0, ids, &produced) == MOE_OK);
  EXPECT(produced == 3 && ids[0] == 2 && ids[1] == 4 && ids[2] == 8);

#define GENERATE(sequence, token, count)                                         moe_session_generate(session, sequence, token, count, 0, ids, &produced)
  EXPECT_ERROR(session, GENERATE(2, 1, 1), MOE_INVALID_ARGUMENT,
               "sequence is 2, expected 0 to 1");
  EXPECT_ERROR(session, GENERATE(0, 16, 1), MOE_INVALID_ARGUMENT,
               "token 0 is 16, expected an id from 0 to 15");
  EXPECT_ERROR(session, GENERATE(0, 1, 0), MOE_INVALID_ARGUMENT, "count is 0");
  EXPECT_ERROR(session, GENERATE(0, 1, 60), MOE_INVALID_ARGUMENT,
               "60 more tokens after 5 do not fit, the context holds 64");
  EXPECT_ERROR(session, GENERATE(1, 15, 5), MOE_INVALID_ARGUMENT,
               "every logit is NaN");
  EXPECT(GENERATE(0, 1, 59) == MOE_OK && produced == 59);
#undef GENERATE
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

static moe_tensor tensor(void *data, uint32_t type, uint32_t rank, int64_t rows,
                         int64_t columns) {
  moe_tensor result = {0};
  result.data = data;
  result.element_type = type;
  result.rank = rank;
  result.shape[0] = rows;
  result.shape[1] = columns;
  return result;
}

static void testCalls(moe_model *model) {
  moe_session *session = makeSession(model, 1, 1);
  float x[8] = {0, 1, 2, 3, 4, 5, 6, 7}, factor = 2, mine[8] = {0};
  int64_t times = 3;
  moe_tensor inputs[] = {tensor(x, MOE_F32, 2, 2, 4),
                         tensor(&factor, MOE_F32, 0, 0, 0),
                         tensor(&times, MOE_I64, 0, 0, 0)};
  moe_tensor outputs[2] = {tensor(mine, MOE_F32, 2, 2, 4), {0}};
  EXPECT(moe_session_call(session, "scale", inputs, 3, outputs, 2) == MOE_OK);
  EXPECT(mine[7] == 42 && outputs[0].data == mine);
  EXPECT(outputs[1].rank == 1 && outputs[1].shape[0] == 2);
  EXPECT(((const float *)outputs[1].data)[1] == 132);

  outputs[0].shape[0] = 1;
  EXPECT_ERROR(session,
               moe_session_call(session, "scale", inputs, 3, outputs, 2),
               MOE_INVALID_ARGUMENT, "the result is f32 [2, 4]");
  EXPECT_ERROR(session,
               moe_session_call(session, "scale", inputs, 2, outputs, 2),
               MOE_INVALID_ARGUMENT, "got 2 inputs and 2 outputs, expected 3");
  EXPECT_ERROR(session, moe_session_call(session, "none", NULL, 0, NULL, 0),
               MOE_INVALID_ARGUMENT, "no function 'none'");
  inputs[0].data = (char *)x + 1;
  EXPECT_ERROR(session,
               moe_session_call(session, "scale", inputs, 3, outputs, 2),
               MOE_INVALID_ARGUMENT, "not aligned");
  inputs[0].data = NULL;
  EXPECT_ERROR(session,
               moe_session_call(session, "scale", inputs, 3, outputs, 2),
               MOE_INVALID_ARGUMENT, "its data is null");

  /* A transposed view comes back in its own order. */
  moe_tensor matrix = tensor(x, MOE_F32, 2, 2, 4), turned = {0};
  EXPECT(moe_session_call(session, "transpose", &matrix, 1, &turned, 1) ==
         MOE_OK);
  EXPECT(turned.shape[0] == 4 && ((const float *)turned.data)[1] == 4);
#ifndef FAKE_DEVICE
  float time;
  moe_measurement how = {sizeof(how), 1, 0, 1, 0, &time};
  EXPECT_ERROR(session,
               moe_session_measure(session, "transpose", &matrix, 1, &turned, 1,
                                   &how),
               MOE_INVALID_ARGUMENT, "the program runs on the CPU");
#endif
  EXPECT_ERROR(session, moe_session_call(session, "forward", NULL, 0, NULL, 0),
               MOE_INVALID_ARGUMENT, "use moe_session_forward");
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

static void testStatistics(moe_model *model) {
  moe_session *session = makeSession(model, 10, 1);
  int32_t tokens[] = {1, 2, 3, 4};
  moe_load load;
  moe_profile_entry entry;
  EXPECT(moe_session_load(session, 0, &load) == MOE_INVALID_ARGUMENT);
  EXPECT(moe_session_forward(session, tokens, NULL, NULL, 4, 4, NULL, 0) ==
         MOE_OK);
  EXPECT(moe_session_load(session, 0, &load) == MOE_OK);
  EXPECT(load.layer == 1 && load.experts == 3 && load.calls == 1);
  EXPECT(load.total_rows == 4 && load.rows[1] == 2);
  EXPECT(moe_session_load(session, 1, &load) == MOE_OK && load.layer == 3);
  EXPECT(moe_session_load(session, 2, &load) == MOE_INVALID_ARGUMENT);
  EXPECT(moe_session_clear(session) == MOE_OK);
  EXPECT(moe_session_load(session, 0, &load) == MOE_INVALID_ARGUMENT);
  /* Not asked for when the session was made. */
  EXPECT(moe_session_profile(session, 0, &entry) == MOE_INVALID_ARGUMENT);
  EXPECT(moe_session_destroy(session) == MOE_OK);
}

/* One thread's session: its numbers must not depend on the other threads. */
static void *runOneSession(void *argument) {
#ifdef FAKE_DEVICE /* One call at a time there. */
  enum { rounds = 3 };
#else
  enum { rounds = 50 };
#endif
  moe_session *session = makeSession(argument, 64, 1);
  for (int round = 0; round < rounds; ++round) {
    float logits[vocabulary];
    int sum = 2;
    EXPECT(moe_session_reset(session) == MOE_OK);
    for (int32_t i = 0; i < 60; ++i) {
      int32_t id = i % 11;
      sum = (sum + id) % vocabulary;
      EXPECT(moe_session_forward(session, &id, NULL, NULL, 1, 0, logits,
                                 vocabulary) == MOE_OK);
      EXPECT(chosen(logits) == sum);
    }
  }
  EXPECT(moe_session_destroy(session) == MOE_OK);
  return NULL;
}

static void testThreads(moe_model *model) {
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i)
    EXPECT(pthread_create(&threads[i], NULL, runOneSession, model) == 0);
  for (int i = 0; i < 4; ++i)
    EXPECT(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
  moe_model *model = openModel();
  if (!model)
    return 1;
  testOpening();
  testSessionOptions(model);
  testSequences(model);
  testRing(model);
  testForwardErrors(model);
  testGenerate(model, 0);
  testGenerate(model, 1);
  testCalls(model);
  testStatistics(model);
  testThreads(model);
  EXPECT(moe_close(model) == MOE_OK);
  return failures != 0;
}
