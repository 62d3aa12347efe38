/* What the stand-in driver was told to do and has not done yet. */
#define _GNU_SOURCE
#include "StandIn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

Operation *make_operation(OperationKind kind) {
  Operation *operation = calloc(1, sizeof *operation);
  operation->kind = kind;
  return operation;
}

/* Parameters are the launcher's and end with the call, so their values are kept. */
static void **copy_parameters(void **parameters, const uint32_t *sizes) {
  uint32_t count = sizes[0];
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; ++i)
    bytes += (sizes[1 + i] + 15) / 16 * 16;
  /* Pointers first, and one more so that no size is 0. */
  size_t head = (count * sizeof(void *) + 16) / 16 * 16;
  char *block = calloc(1, head + bytes);
  void **copy = (void **)block;
  char *value = block + head;
  for (uint32_t i = 0; i < count; ++i) {
    memcpy(value, parameters[i], sizes[1 + i]);
    copy[i] = value;
    value += (sizes[1 + i] + 15) / 16 * 16;
  }
  return copy;
}

Operation *make_launch(Kernel *kernel, int64_t blocks, int64_t threads,
                       void **parameters) {
  static const uint32_t none[] = {0};
  Operation *operation = make_operation(LAUNCH);
  operation->kernel = kernel;
  operation->blocks = blocks;
  operation->threads = threads;
  operation->parameters =
      copy_parameters(parameters, kernel->sizes ? kernel->sizes : none);
  return operation;
}

static void release(Operation *operation) {
  free(operation->parameters);
  free(operation->staged);
  free(operation);
}

void queue_append(Queue *queue, Operation *operation) {
  operation->next = NULL;
  if (queue->last)
    queue->last->next = operation;
  else
    queue->first = operation;
  queue->last = operation;
}

/* A graph is replayed: the original stays. */
void queue_append_copies(Queue *queue, const Queue *from) {
  for (const Operation *o = from->first; o; o = o->next) {
    Operation *copy = make_operation(o->kind);
    *copy = *o;
    copy->staged = NULL;
    if (o->parameters)
      copy->parameters = copy_parameters(
          o->parameters, o->kernel->sizes ? o->kernel->sizes : (uint32_t[]){0});
    queue_append(queue, copy);
  }
}

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Threads must not depend on their order, so any will do. */
void run_kernel(const Kernel *kernel, int64_t blocks, int64_t threads,
                void **parameters) {
  if (!kernel->function)
    return;
  running = kernel->name;
  int64_t count = blocks * threads, stride = 1;
  int reverse = !strcmp(settings.order, "reverse");
  if (!strcmp(settings.order, "shuffle"))
    for (stride = count * 5 / 8 + 1; common_divisor(stride, count) != 1;)
      ++stride;
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = reverse ? count - 1 - i : (int64_t)((__int128)i * stride % count);
    kernel->function(parameters, at / threads, at % threads);
  }
  running = NULL;
}

static void run(Operation *o) {
  struct timespec now;
  switch (o->kind) {
  case LAUNCH:
    run_kernel(o->kernel, o->blocks, o->threads, o->parameters);
    break;
  case COPY:
    memcpy(o->to, o->from, o->bytes);
    break;
  case FILL:
    memset(o->to, o->byte, o->bytes);
    break;
  case RECORD:
    clock_gettime(CLOCK_MONOTONIC, &now);
    o->event->milliseconds =
        (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
    o->event->done = 1;
    break;
  case FAIL:
    lost = ILLEGAL_ADDRESS;
    break;
  }
}

void queue_run(Queue *queue) {
  memory_expose();
  const char *after = "the host";
  while (queue->first) {
    Operation *o = queue->first;
    queue->first = o->next;
    if (o->kind == LAUNCH)
      after = o->kernel->name;
    if (!lost)
      run(o);
    release(o);
  }
  queue->last = NULL;
  memory_hide(after);
}

void queue_drop(Queue *queue) {
  while (queue->first) {
    Operation *o = queue->first;
    queue->first = o->next;
    release(o);
  }
  queue->last = NULL;
}
