/* Tests of the C interface on a device that the command line does not reach: sessions share weights, a failed device
 * refuses them all, memory that is short leaves a session usable, and graphs of several threads do not mix.
 *
 * device-sessions DRIVER LOG; every test is a process of its own, as the stand-in driver reads its settings once.
 */
#define _GNU_SOURCE
#include "Expect.h"
#include "moe/Runtime/Runtime.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { vocabulary = 16 };

static const char *driver, *logFile;

static moe_model *openModel(void) {
  char message[MOE_MESSAGE_SIZE] = "";
  moe_model *model = NULL;
  moe_open_options options = {0};
  options.struct_size = sizeof(options);
  options.driver = driver;
  if (moe_open(&options, &model, message, sizeof(message)) != MOE_OK)
    fprintf(stderr, "moe_open: %s\n", message);
  return model;
}

static moe_session *makeSession(moe_model *model, int64_t context) {
  moe_session_options options = {0};
  moe_session *session = NULL;
  char message[MOE_MESSAGE_SIZE] = "";
  options.struct_size = sizeof(options);
  options.context = context;
  if (moe_session_create(model, &options, &session, message, sizeof(message)) !=
      MOE_OK)
    fprintf(stderr, "moe_session_create: %s\n", message);
  return session;
}

static moe_status feed(moe_session *session, int32_t token) {
  float logits[vocabulary];
  return moe_session_forward(session, &token, NULL, NULL, 1, 0, logits,
                             vocabulary);
}

static moe_status call(moe_session *session, const char *function) {
  static float x[4];
  moe_tensor matrix = {x, MOE_F32, 2, {1, 4}};
  return moe_session_call(session, function, &matrix, 1, NULL, 0);
}

/* Lines of the log that contain `text`. */
static int logged(const char *text) {
  char line[512];
  int count = 0;
  FILE *file = fopen(logFile, "r");
  while (file && fgets(line, sizeof(line), file))
    count += strstr(line, text) != NULL;
  if (file)
    fclose(file);
  return count;
}

/* The driver is loaded by the first session, and the weights move once. */
static void testShared(void) {
  moe_model *model = openModel();
  EXPECT(logged("init") == 0);
  moe_session *a = makeSession(model, 8), *b = makeSession(model, 8);
  EXPECT(logged("init") == 1 && logged("load elf") == 1);
  EXPECT(logged("copy-in") == 1);
  EXPECT(feed(a, 1) == MOE_OK && feed(b, 2) == MOE_OK && feed(a, 3) == MOE_OK);
  EXPECT(moe_close(model) == MOE_BUSY);
  EXPECT(moe_session_destroy(a) == MOE_OK && moe_session_destroy(b) == MOE_OK);
  /* They stay until the model is closed. */
  moe_session *c = makeSession(model, 8);
  EXPECT(feed(c, 1) == MOE_OK && logged("load elf") == 1);
  EXPECT(moe_session_destroy(c) == MOE_OK && moe_close(model) == MOE_OK);
  EXPECT(logged("release device 0 with 0 allocations") == 1);
}

/* Errors that are the call's own leave the session usable. */
static void testErrorsOfACall(void) {
  moe_model *model = openModel();
  moe_session *session = makeSession(model, 8);
  EXPECT_ERROR(session, call(session, "unknown_kernel"), MOE_INTERNAL_ERROR,
               "cannot launch a kernel that the program does not have in "
               "'unknown_kernel'");
  EXPECT_ERROR(session, call(session, "many_blocks"), MOE_INTERNAL_ERROR,
               "so many blocks of kernel store in 'many_blocks'");
  EXPECT(logged("launch overrun") == 0);
  EXPECT(call(session, "no_blocks") == MOE_OK);
  EXPECT(call(session, "tensor_map") == MOE_OK);
  EXPECT(logged("tensor map of 3 dimensions") == 1);
  EXPECT_ERROR(session, call(session, "odd_tensor_map"), MOE_INTERNAL_ERROR,
               "cannot describe a tensor in 'odd_tensor_map'");
  EXPECT_ERROR(session, call(session, "grow"), MOE_OUT_OF_MEMORY,
               "'grow' asked for 67.1 MB of work space");
  EXPECT(feed(session, 1) == MOE_OK && !*moe_session_message(session));
  EXPECT(moe_session_destroy(session) == MOE_OK && moe_close(model) == MOE_OK);
}

/* After the second kernel of the second call, nothing works any more. */
static void testLost(void) {
  moe_model *model = openModel();
  moe_session *a = makeSession(model, 8), *b = makeSession(model, 8), *c = a;
  char message[MOE_MESSAGE_SIZE] = "";
  EXPECT(feed(a, 1) == MOE_OK);
  EXPECT_ERROR(b, feed(b, 1), MOE_DEVICE_LOST, "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_ERROR(b, feed(b, 1), MOE_DEVICE_LOST, "failed in an earlier call");
  EXPECT_ERROR(a, feed(a, 1), MOE_DEVICE_LOST, "failed in an earlier call");
  EXPECT_ERROR(a, call(a, "grow"), MOE_DEVICE_LOST, "earlier call");
  EXPECT(moe_session_create(model, NULL, &c, message, sizeof(message)) ==
         MOE_DEVICE_LOST);
  EXPECT(!c && strstr(message, "until the program is started again"));
  int64_t length = -1;
  EXPECT(moe_session_length(b, 0, &length) == MOE_OK && length == 0);
  EXPECT(moe_session_destroy(a) == MOE_OK && moe_session_destroy(b) == MOE_OK);
  EXPECT(moe_close(model) == MOE_OK);
}

/* A step that cannot be captured says so, and the session goes on. */
static void testCapture(void) {
  moe_model *model = openModel();
  moe_session *session = makeSession(model, 32);
  int32_t ids[4];
  int64_t produced = -1;
  setenv("FAKE_STEP_GROWS", "1", 1);
  EXPECT_ERROR(
      session, moe_session_generate(session, 0, 1, 4, 0, ids, &produced),
      MOE_INTERNAL_ERROR, "CUDA_ERROR_STREAM_CAPTURE");
  EXPECT(produced == -1 && logged("end capture in vain") == 1);
  unsetenv("FAKE_STEP_GROWS");
  EXPECT(moe_session_reset(session) == MOE_OK);
  EXPECT(moe_session_generate(session, 0, 1, 4, 0, ids, &produced) == MOE_OK);
  EXPECT(produced == 4 && ids[0] == 3 && ids[1] == 6 && ids[3] == 8);
  EXPECT(moe_session_destroy(session) == MOE_OK && moe_close(model) == MOE_OK);
  EXPECT(logged("release device 0 with 0 allocations") == 1);
}

/* One copy of the inputs, one capture, a replay and times for every run; or launches by the host each time. */
static void testMeasure(void) {
  moe_model *model = openModel();
  moe_session *session = makeSession(model, 8);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, factor = 2, times[3] = {-1, -1, -1};
  int64_t three = 3;
  moe_tensor inputs[] = {{x, MOE_F32, 2, {2, 4}}, {&factor, MOE_F32, 0, {0}}, {&three, MOE_I64, 0, {0}}};
  moe_tensor outputs[2] = {{0}};
  moe_measurement how = {sizeof(how), 1, 2, 3, 1000, times};
  int copies = logged("copy-in"), fills = logged("fill 00");
  EXPECT(moe_session_measure(session, "scale", inputs, 3, outputs, 2, &how) == MOE_OK);
  EXPECT(logged("begin capture") == 1 && logged("launch graph") == 5);
  EXPECT(logged("fill 00") == fills + 3 && logged("copy-in") == copies + 2);
  EXPECT(times[0] >= 0 && times[1] >= 0 && times[2] >= 0);
  EXPECT(outputs[0].shape[0] == 2 && ((const float *)outputs[0].data)[7] == 48);
  int launches = logged("launch scale");
  how.graph = 0;
  how.flush_bytes = 0;
  EXPECT(moe_session_measure(session, "scale", inputs, 3, outputs, 2, &how) == MOE_OK);
  EXPECT(logged("launch scale") == launches + 6 && logged("launch graph") == 5);
  EXPECT(logged("fill 00") == fills + 3);
  EXPECT(((const float *)outputs[0].data)[7] == 48);
  how.runs = 0;
  EXPECT_ERROR(session, moe_session_measure(session, "scale", inputs, 3, outputs, 2, &how), MOE_INVALID_ARGUMENT,
               "at least 1 run");
  how.runs = 3;
  how.flush_bytes = 100000000;
  EXPECT_ERROR(session, moe_session_measure(session, "scale", inputs, 3, outputs, 2, &how), MOE_OUT_OF_MEMORY,
               "100.0 MB to empty caches");
  how.struct_size = 8;
  EXPECT_ERROR(session, moe_session_measure(session, "scale", inputs, 3, outputs, 2, &how), MOE_INVALID_ARGUMENT,
               "sizeof(moe_measurement) = 40");
  EXPECT(moe_session_destroy(session) == MOE_OK && moe_close(model) == MOE_OK);
  EXPECT(logged("release device 0 with 0 allocations") == 1);
}

static void *generate(void *model) {
  moe_session *session = makeSession(model, 64);
  int32_t ids[60];
  int64_t produced = 0;
  for (int round = 0; round < 5; ++round) {
    EXPECT(moe_session_reset(session) == MOE_OK);
    EXPECT(moe_session_generate(session, 0, 1, 60, 0, ids, &produced) ==
           MOE_OK);
    int right = 0;
    for (int i = 0, sum = 3; i < produced; sum += ids[i++])
      right += ids[i] == sum % vocabulary;
    EXPECT(produced == 60 && right == 60);
  }
  EXPECT(moe_session_destroy(session) == MOE_OK);
  return NULL;
}

static void testThreads(void) {
  moe_model *model = openModel();
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i)
    EXPECT(pthread_create(&threads[i], NULL, generate, model) == 0);
  for (int i = 0; i < 4; ++i)
    EXPECT(pthread_join(threads[i], NULL) == 0);
  EXPECT(moe_close(model) == MOE_OK);
  EXPECT(logged("begin capture") == 4 && logged("launch graph") == 4 * 299);
  EXPECT(logged("release device 0 with 0 allocations") == 1);
}

/* Runs a test with these settings of the stand-in. */
static void run(void (*test)(void), const char *settings) {
  char all[1024];
  int status = -1;
  unlink(logFile);
  snprintf(all, sizeof(all), "log=%s,%s", logFile, settings);
  setenv("MOE_STAND_IN", all, 1);
  pid_t child = fork();
  if (child == 0) {
    test();
    _exit(failures != 0);
  }
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  driver = argv[1];
  logFile = argv[2];
  run(testShared, "");
  run(testErrorsOfACall, "memory=60000000");
  run(testLost, "fail-launch=5");
  run(testCapture, "");
  run(testMeasure, "memory=60000000");
  run(testThreads, "order=shuffle");
  return failures != 0;
}
