/* A stand-in for the CUDA driver, so that programs for GPUs are tested where there is none: what its parts share.
 *
 * "Device memory" is memory of the host between guard pages, out of reach for everyone but kernels and copies: host
 * code that touches it dies. Everything is queued and runs when somebody waits, so that what is read too early is
 * not there yet. Kernels come from a shared library: each is a function
 *     void NAME(void **parameters, int64_t block, int64_t thread)
 * run for every thread of every block, one after the other. An array `const uint32_t NAME_parameters[]` (their
 * number, then the size of each) lets a launch be kept for later; without it a launch runs at once, and cannot be
 * captured. Kernels given as PTX are recorded and do nothing.
 *
 * The environment variable MOE_STAND_IN says what to do, as key=value joined by commas:
 *     log=FILE             append a line for each call that matters
 *     memory=BYTES         device memory there is (default 64 GiB)
 *     devices=N            (default 1)        capability=80   (default 90)        version=12040 (default 13000)
 *     order=reverse        threads run backwards; shuffle: in a fixed disorder (default forward)
 *     fail-alloc=N         the N-th allocation finds no memory
 *     fail-launch=N        the device is lost by the N-th kernel
 *     fail-load=unsupported, or invalid: what is said of the kernels
 */
#ifndef MOE_TEST_RUNTIME_STANDIN_H
#define MOE_TEST_RUNTIME_STANDIN_H

#include <stddef.h>
#include <stdint.h>

enum {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  INVALID_PTX = 218,
  UNSUPPORTED_PTX_VERSION = 222,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901
};

typedef void KernelFunction(void **parameters, int64_t block, int64_t thread);

typedef struct Kernel {
  char name[128];
  KernelFunction *function; /* null: of PTX */
  const uint32_t *sizes;    /* null: unknown */
  int shared_bytes;         /* most dynamic shared memory that was allowed */
  struct Kernel *next;
} Kernel;

typedef struct Event {
  int done;
  double milliseconds;
} Event;

typedef enum OperationKind { LAUNCH, COPY, FILL, RECORD, FAIL } OperationKind;

typedef struct Operation {
  OperationKind kind;
  struct Operation *next;
  Kernel *kernel;
  int64_t blocks, threads;
  void **parameters; /* with their values behind them */
  void *to;
  const void *from; /* of a copy; may lie in `staged` */
  void *staged;
  size_t bytes;
  int byte;
  Event *event;
} Operation;

typedef struct Queue {
  Operation *first, *last;
} Queue;

typedef struct Stream {
  int number;
  Queue queue;
  int capturing, invalid;
  unsigned long owner; /* thread that captures */
  Queue captured;
} Stream;

/* Driver.c */
extern struct Settings {
  char log[1024];
  size_t memory;
  int devices, capability, version;
  int64_t fail_alloc, fail_launch;
  char order[16], fail_load[16];
} settings;
extern int lost; /* the error that every call gives from now on */
void record(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Memory.c */
int memory_allocate(uint64_t *memory, size_t bytes);
int memory_free(uint64_t memory);
size_t memory_used(void);
int memory_allocations(void);
/* Writes "#NUMBER+OFFSET" for a range within one allocation; 0 if it is not. */
int memory_describe(uint64_t memory, size_t bytes, char text[64]);
void memory_expose(void);
void memory_hide(const char *after); /* and checks what surrounds allocations */
int pinned_allocate(void **memory, size_t bytes);
int pinned_free(void *memory);
int is_pinned(const void *memory, size_t bytes);

/* Says who touched what they must not, before the process dies of it. */
void memory_watch(void);
extern const char *running; /* kernel; null: the host */

/* Queue.c */
void queue_append(Queue *queue, Operation *operation);
void queue_append_copies(Queue *queue, const Queue *from);
void queue_run(Queue *queue);
void queue_drop(Queue *queue);
Operation *make_operation(OperationKind kind);
Operation *make_launch(Kernel *kernel, int64_t blocks, int64_t threads,
                       void **parameters);
void run_kernel(const Kernel *kernel, int64_t blocks, int64_t threads,
                void **parameters);

#endif
