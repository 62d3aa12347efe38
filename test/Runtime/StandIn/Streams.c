/* The entry points of the stand-in driver: memory, streams, graphs and events. */
#define _GNU_SOURCE
#include "Driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { most_streams = 256 };
static Stream *streams[most_streams];

int forbid_in_capture(const char *call) {
  for (int i = 0; i < most_streams; ++i)
    if (streams[i] && streams[i]->capturing &&
        streams[i]->owner == (unsigned long)pthread_self()) {
      streams[i]->invalid = 1;
      record("%s while stream %d captures", call, i);
      return CAPTURE_UNSUPPORTED;
    }
  return SUCCESS;
}

/* Begins every call that must not happen in a capture. */
static int begin(const char *call) {
  lock();
  int result = usable();
  return result ? result : forbid_in_capture(call);
}

/* --- Memory ----------------------------------------------------------------------------------------- */

API int cuMemGetInfo_v2(size_t *free, size_t *total) {
  lock();
  *total = settings.memory;
  *free = settings.memory - memory_used();
  return unlock(usable());
}

API int cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
  int result = begin("cuMemAlloc");
  if (!result)
    result = bytes ? memory_allocate(memory, bytes) : INVALID_VALUE;
  return unlock(result);
}

/* Waits for everything, as the real one does. */
API int cuMemFree_v2(uint64_t memory) {
  int result = begin("cuMemFree");
  for (int i = 0; !result && i < most_streams; ++i)
    if (streams[i])
      queue_run(&streams[i]->queue);
  if (!result)
    result = memory_free(memory);
  return unlock(result);
}

API int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
  int result = begin("cuMemHostAlloc");
  (void)flags;
  return unlock(result ? result : pinned_allocate(memory, bytes));
}

API int cuMemFreeHost(void *memory) {
  int result = begin("cuMemFreeHost");
  return unlock(result ? result : pinned_free(memory));
}

/* --- Streams ---------------------------------------------------------------------------------------- */

API int cuStreamCreate(Stream **stream, unsigned flags) {
  int result = begin("cuStreamCreate"), number = 0;
  (void)flags;
  if (result)
    return unlock(result);
  while (number < most_streams && streams[number])
    ++number;
  if (number == most_streams)
    return unlock(OUT_OF_MEMORY);
  *stream = streams[number] = calloc(1, sizeof **stream);
  (*stream)->number = number;
  return unlock(SUCCESS);
}

API int cuStreamDestroy_v2(Stream *stream) {
  lock();
  queue_run(&stream->queue);
  queue_drop(&stream->captured);
  streams[stream->number] = NULL;
  free(stream);
  return unlock(SUCCESS);
}

API int cuStreamSynchronize(Stream *stream) {
  int result = begin("cuStreamSynchronize");
  if (!result && stream->capturing) {
    stream->invalid = 1;
    result = CAPTURE_UNSUPPORTED;
  }
  if (!result) {
    queue_run(&stream->queue);
    record("stream %d synchronize", stream->number);
    result = lost;
  }
  return unlock(result);
}

/* Where what the stream is told goes. */
static Queue *target(Stream *stream) {
  return stream->capturing ? &stream->captured : &stream->queue;
}

static int64_t launches;

API int cuLaunchKernel(Kernel *kernel, unsigned blocks, unsigned by, unsigned bz,
                       unsigned threads, unsigned ty, unsigned tz,
                       unsigned shared, Stream *stream, void **parameters,
                       void **extra) {
  enum { most_threads = 1024, free_shared = 48 << 10 };
  lock();
  int result = usable();
  if (!result && (!blocks || by != 1 || bz != 1 || !threads || ty != 1 ||
                  tz != 1 || threads > most_threads || extra ||
                  (shared > free_shared && (int)shared > kernel->shared_bytes)))
    result = INVALID_VALUE;
  if (result)
    return unlock(result);
  record("stream %d %s %s <%u, %u, %u>", stream->number,
         stream->capturing ? "capture" : "launch", kernel->name, blocks, threads,
         shared);
  if (++launches == settings.fail_launch)
    queue_append(target(stream), make_operation(FAIL));
  if (kernel->function && !kernel->sizes) {
    if (stream->capturing)
      die("kernel '%s' has no %s_parameters, so it cannot be captured",
          kernel->name, kernel->name);
    queue_run(&stream->queue);
    memory_expose();
    run_kernel(kernel, blocks, threads, parameters);
    memory_hide(kernel->name);
    return unlock(SUCCESS);
  }
  queue_append(target(stream), make_launch(kernel, blocks, threads, parameters));
  return unlock(SUCCESS);
}

/* What the real driver asks of a tensor map with elements of two bytes. */
static int check_map(uint64_t map, unsigned element, unsigned rank,
                     uint64_t memory, const uint64_t *sizes,
                     const uint64_t *strides, const uint32_t *box,
                     const uint32_t *steps, int swizzle) {
  enum { bfloat16 = 9, swizzle_128 = 3 };
  if (map % 64 || memory % 16 || element != bfloat16 || rank < 1 || rank > 5 ||
      swizzle != swizzle_128 || box[0] * 2 > 128 || box[0] * 2 % 16)
    return INVALID_VALUE;
  for (unsigned i = 0; i < rank; ++i)
    if (!sizes[i] || !box[i] || box[i] > 256 || steps[i] != 1 ||
        (i && (strides[i - 1] % 16 || strides[i - 1] >> 40)))
      return INVALID_VALUE;
  return SUCCESS;
}

API int cuTensorMapEncodeTiled(void *map, unsigned element, unsigned rank,
                               void *memory, const uint64_t *sizes,
                               const uint64_t *strides, const uint32_t *box,
                               const uint32_t *steps, int interleave,
                               int swizzle, int promotion, int fill) {
  lock();
  int result = usable();
  if (!result)
    result = interleave || promotion != 2 || fill
                 ? INVALID_VALUE
                 : check_map((uintptr_t)map, element, rank, (uintptr_t)memory,
                             sizes, strides, box, steps, swizzle);
  if (!result) {
    record("tensor map of %u dimensions", rank);
    memset(map, 0, 128);
    memcpy(map, &memory, sizeof(memory));
  }
  return unlock(result);
}

/* A range of device memory for a copy, or the error. */
static int check_range(const char *what, Stream *stream, uint64_t memory,
                       size_t bytes) {
  char text[64];
  int result = usable();
  if (result)
    return result;
  if (!memory_describe(memory, bytes, text)) {
    record("stream %d %s of %zu bytes outside of allocations", stream->number,
           what, bytes);
    return INVALID_VALUE;
  }
  record("stream %d %s %s %zu", stream->number, what, text, bytes);
  return SUCCESS;
}

API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes,
                             Stream *stream) {
  lock();
  int result = check_range("copy-in", stream, to, bytes);
  int fixed = is_pinned(from, bytes);
  if (!result && !fixed)
    result = forbid_in_capture("a copy from pageable memory");
  if (result)
    return unlock(result);
  Operation *operation = make_operation(COPY);
  operation->to = (void *)(uintptr_t)to;
  operation->from = from;
  operation->bytes = bytes;
  if (!fixed) {
    operation->from = operation->staged = malloc(bytes);
    memcpy(operation->staged, from, bytes);
  }
  queue_append(target(stream), operation);
  return unlock(SUCCESS);
}

API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes,
                             Stream *stream) {
  lock();
  int result = check_range("copy-out", stream, from, bytes);
  int fixed = is_pinned(to, bytes);
  if (!result && !fixed)
    result = forbid_in_capture("a copy to pageable memory");
  if (result)
    return unlock(result);
  Operation *operation = make_operation(COPY);
  operation->to = to;
  operation->from = (const void *)(uintptr_t)from;
  operation->bytes = bytes;
  queue_append(target(stream), operation);
  /* The real one waits for copies to memory that it cannot write to by itself. */
  if (!fixed)
    queue_run(&stream->queue);
  return unlock(fixed ? SUCCESS : lost);
}

API int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes,
                        Stream *stream) {
  lock();
  char what[16];
  snprintf(what, sizeof what, "fill %02x", byte);
  int result = check_range(what, stream, to, bytes);
  if (result)
    return unlock(result);
  Operation *operation = make_operation(FILL);
  operation->to = (void *)(uintptr_t)to;
  operation->byte = byte;
  operation->bytes = bytes;
  queue_append(target(stream), operation);
  return unlock(SUCCESS);
}

/* --- Graphs ----------------------------------------------------------------------------------------- */

API int cuStreamBeginCapture_v2(Stream *stream, int mode) {
  enum { thread_local_mode = 1 };
  int result = begin("cuStreamBeginCapture");
  if (result || mode != thread_local_mode)
    return unlock(result ? result : NOT_SUPPORTED);
  stream->capturing = 1;
  stream->invalid = 0;
  stream->owner = (unsigned long)pthread_self();
  record("stream %d begin capture", stream->number);
  return unlock(SUCCESS);
}

API int cuStreamEndCapture(Stream *stream, Queue **graph) {
  lock();
  int result = stream->capturing ? SUCCESS : INVALID_VALUE;
  if (!result && stream->invalid)
    result = CAPTURE_INVALIDATED;
  record("stream %d end capture%s", stream->number, result ? " in vain" : "");
  stream->capturing = 0;
  *graph = NULL;
  if (!result) {
    *graph = calloc(1, sizeof **graph);
    **graph = stream->captured;
    stream->captured = (Queue){NULL, NULL};
  }
  queue_drop(&stream->captured);
  return unlock(result);
}

API int cuGraphInstantiateWithFlags(Queue **made, const Queue *graph,
                                    unsigned long long flags) {
  int result = begin("cuGraphInstantiate");
  if (result || flags)
    return unlock(result ? result : INVALID_VALUE);
  *made = calloc(1, sizeof **made);
  queue_append_copies(*made, graph);
  return unlock(SUCCESS);
}

API int cuGraphLaunch(const Queue *graph, Stream *stream) {
  lock();
  int result = usable();
  if (result)
    return unlock(result);
  record("stream %d launch graph", stream->number);
  queue_append_copies(target(stream), graph);
  return unlock(SUCCESS);
}

static int drop_graph(Queue *graph) {
  lock();
  queue_drop(graph);
  free(graph);
  return unlock(SUCCESS);
}
API int cuGraphDestroy(Queue *graph) { return drop_graph(graph); }
API int cuGraphExecDestroy(Queue *graph) { return drop_graph(graph); }

/* --- Events ----------------------------------------------------------------------------------------- */

API int cuEventCreate(Event **event, unsigned flags) {
  int result = begin("cuEventCreate");
  (void)flags;
  if (!result)
    *event = calloc(1, sizeof **event);
  return unlock(result);
}

API int cuEventDestroy_v2(Event *event) {
  free(event);
  return SUCCESS;
}

API int cuEventRecord(Event *event, Stream *stream) {
  lock();
  int result = usable();
  if (result)
    return unlock(result);
  Operation *operation = make_operation(RECORD);
  operation->event = event;
  event->done = 0;
  queue_append(target(stream), operation);
  return unlock(SUCCESS);
}

API int cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
  if (!from->done || !to->done)
    return NOT_READY;
  *milliseconds = (float)(to->milliseconds - from->milliseconds);
  return SUCCESS;
}
