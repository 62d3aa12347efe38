/* The C interface of a compiled program: open it, make sessions, run functions.
 *
 * Pure C, no compiler needed at run time. Link a program that moe-compile made with --emit=shared, include
 * this header, and:
 *
 *     moe_model *model;  moe_session *session;  char why[MOE_MESSAGE_SIZE];
 *     if (moe_open(NULL, &model, why, sizeof why) != MOE_OK)                       ... why says what is wrong
 *     if (moe_session_create(model, NULL, &session, why, sizeof why) != MOE_OK)    ...
 *     if (moe_session_forward(session, ids, NULL, NULL, n, n - 1, logits, vocabulary) != MOE_OK)
 *       puts(moe_session_message(session));
 *     moe_session_destroy(session);  moe_close(model);
 *
 * Rules that hold for every function below, unless it says otherwise:
 * - It returns a moe_status. On anything but MOE_OK its outputs are untouched or null, and one line of text
 *   says what was wrong, where, and what would be right.
 * - Pointers that the caller passes stay the caller's; they are read or written during the call only.
 * - A moe_model is immutable after moe_open and may be shared by any number of threads. A moe_session serves
 *   one call at a time (a second concurrent call returns MOE_BUSY); different sessions run independently.
 * - There are no global settings. Thread counts are OpenMP's, set for the time of a call and then restored.
 * - Extents count elements, sizes count bytes, times are nanoseconds. Tensors are row major and contiguous.
 */
#ifndef MOE_RUNTIME_RUNTIME_H
#define MOE_RUNTIME_RUNTIME_H

#include "moe/Runtime/Program.h"

/* clang-format off: fields and their meaning stand side by side. */

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOE_API __attribute__((visibility("default")))
#else
#define MOE_API
#endif

/* Room for any message, with its terminating zero. */
#define MOE_MESSAGE_SIZE 1024

typedef enum moe_status {
  MOE_OK = 0,
  MOE_INVALID_ARGUMENT = 1, /* the caller asked for something that has no meaning              */
  MOE_OUT_OF_MEMORY = 2,    /* the system gave no memory, or too small a stack; the session stays usable */
  MOE_FILE_ERROR = 3,       /* a file could not be found, read or written                       */
  MOE_BAD_WEIGHTS = 4,      /* the weights file is cut, changed, or of another program          */
  MOE_UNSUPPORTED_CPU = 5,  /* this CPU lacks what the program was compiled for                 */
  MOE_BUSY = 6,             /* the session runs another call, or the model still has sessions   */
  MOE_INTERNAL_ERROR = 7,   /* program and runtime do not fit together, or a bug                */
  MOE_NO_DEVICE = 8,        /* no driver, no device, or none that the program was compiled for  */
  MOE_DEVICE_LOST = 9       /* the device failed: every session of the model refuses further
                               calls, and only a new process can use the device again           */
} moe_status;

typedef struct moe_model moe_model;     /* an opened program: its code and its mapped weights */
typedef struct moe_session moe_session; /* the state of one user of a model                   */

/* Called now and then while bytes are checked; `done` rises to `total`. `user` is the caller's own. */
typedef void (*moe_progress)(void *user, uint64_t done, uint64_t total);

/* --- Models --------------------------------------------------------------------------------------------- */

typedef struct moe_open_options {
  uint32_t struct_size;            /* sizeof(moe_open_options)                                             */
  uint32_t verify;                 /* not 0: compare every byte of the weights with their checksum          */
  const moe_program_info *program; /* must outlive the model; null: the program this runtime is linked with */
  const char *weights;             /* path of the weights file; null: `FILE.weights` beside the executable
                                      or shared library FILE that holds the program                         */
  moe_progress progress;           /* null, or told about the progress of `verify`, on the calling thread   */
  void *progress_user;             /* handed to `progress`                                                  */
  const char *driver;              /* of a device program: file of the CUDA driver, loaded by the first session;
                                      null: libcuda.so.1, wherever the system has it                        */
} moe_open_options;

/* Checks that this CPU can run the program, then finds, checks and maps its weights (read only; pages are
 * read from disk when first used). `options` may be null. On success *model is the caller's, to be given to
 * moe_close. On failure *model is null and `message` (may be null when message_size is 0) holds the reason. */
MOE_API moe_status moe_open(const moe_open_options *options, moe_model **model, char *message, size_t message_size);

/* Unmaps the weights. MOE_BUSY and no effect while sessions of the model exist. Null is allowed. */
MOE_API moe_status moe_close(moe_model *model);

/* What the program says about itself: functions, shapes, vocabulary. Lives as long as the program. */
MOE_API const moe_program_info *moe_model_program(const moe_model *model);

/* Path of the mapped weights file, empty if the program has none. Lives as long as the model. */
MOE_API const char *moe_model_weights_path(const moe_model *model);

/* --- Tensors -------------------------------------------------------------------------------------------- */

typedef struct moe_tensor {
  void *data;            /* first element; aligned to the element's size, 64 bytes is fastest. May be null when
                            an extent is 0                                                                  */
  uint32_t element_type; /* moe_element_type                                                               */
  uint32_t rank;         /* 0 .. MOE_MAX_RANK                                                               */
  int64_t shape[MOE_MAX_RANK]; /* the first `rank` entries count, none negative                            */
} moe_tensor;

/* --- Sessions ------------------------------------------------------------------------------------------- */

typedef struct moe_session_options {
  uint32_t struct_size; /* sizeof(moe_session_options)                                                      */
  int32_t threads;      /* threads of one call; 0: as many as the process may use CPUs                      */
  int64_t context;      /* positions a sequence may have; 0: the model's own limit. Memory for them is
                           reserved now and committed only when used; of a device, taken as a whole now     */
  int64_t sequences;    /* independent sequences with own caches, at most 2^20; 0: one                      */
  uint32_t record_load; /* not 0: count the rows of each expert, see moe_session_load                       */
  uint32_t profile;     /* not 0: time each kernel, see moe_session_profile                                 */
  uint32_t poison_cache; /* for tests. Not 0: fill the caches with NaN first, which commits all of them     */
  uint32_t reserved;    /* 0                                                                                */
  int64_t piece;        /* tokens of a call that are computed at once; 0: 2048. Fewer need less work space, and
                           fewer rows in the caches of layers with a window. Results do not depend on it. At
                           most the `max_tokens` of a device program                                        */
} moe_session_options;

/* Makes a session. `options` may be null. The first session of a device program loads the driver, finds a device
 * and moves the weights there; nothing is allocated on it unless weights, caches and the work space of a language model
 * fit. On success *session is the caller's, to be given to moe_session_destroy; on failure it is null and `message` holds
 * the reason. Thread safe. */
MOE_API moe_status moe_session_create(moe_model *model, const moe_session_options *options, moe_session **session,
                                      char *message, size_t message_size);

/* Frees the session and all that belongs to it. Null is allowed. */
MOE_API moe_status moe_session_destroy(moe_session *session);

/* Why the last call with this session failed, one or two lines without a line end; empty after success.
 * Belongs to the session and is valid until its next call. */
MOE_API const char *moe_session_message(const moe_session *session);

/* Runs a language model over `num_tokens` tokens of one or more sequences and keeps their keys and values.
 *   tokens     [num_tokens] ids, 0 <= id < vocabulary
 *   sequences  [num_tokens] the sequence each token is of; null: sequence 0
 *   positions  [num_tokens] its position there, from 0; null: each sequence continues where it ended. Within a
 *              call the positions of one sequence ascend by one, and start at most at its length. Starting
 *              earlier forgets what stood from there on: this is how to rewind or to start again. Layers with
 *              a window have forgotten old positions: a start that needs them is refused, 0 never is.
 *   first_row  logits are computed for tokens first_row .. num_tokens-1 only; num_tokens: for none
 *   logits     receives (num_tokens - first_row) * vocabulary floats, row after row; may hold some of them
 *              after a failure
 *   capacity   floats that `logits` has room for
 * A row does not depend on the other tokens of the call: not by one bit. */
MOE_API moe_status moe_session_forward(moe_session *session, const int32_t *tokens, const int32_t *positions,
                                       const int32_t *sequences, int64_t num_tokens, int64_t first_row, float *logits,
                                       int64_t capacity);

/* Continues a sequence greedily: feeds `token` at its end, then the id of the largest logit (the lowest of equal
 * ones; NaN never wins), and so on, `count` tokens in all.
 *   stop_at_eos  not 0: also ends after an end-of-text id was written
 *   ids          receives the id that follows each token that was fed, at most `count`; may hold some of them
 *                after a failure
 *   produced     how many
 * A device program with a function "decode_step" replays one graph a token. */
MOE_API moe_status moe_session_generate(moe_session *session, int64_t sequence, int32_t token, int64_t count,
                                        uint32_t stop_at_eos, int32_t *ids, int64_t *produced);

/* Tokens that `sequence` holds now. */
MOE_API moe_status moe_session_length(moe_session *session, int64_t sequence, int64_t *length);

/* Forgets all sequences. Statistics and memory stay. */
MOE_API moe_status moe_session_reset(moe_session *session);

/* Runs the function `function` of the program. `inputs` are its data inputs in order, parameters left out.
 * Element types and ranks must be equal to those of the function and extents must fit; nothing is converted.
 * An output whose `data` is null on entry receives a pointer into the session, valid until its next call, and
 * all other fields; one with `data` keeps its memory, must describe it in full, and receives the elements if
 * that description equals the result. */
MOE_API moe_status moe_session_call(moe_session *session, const char *function, const moe_tensor *inputs,
                                    size_t num_inputs, moe_tensor *outputs, size_t num_outputs);

/* What to measure, and how. */
typedef struct moe_measurement {
  uint32_t struct_size;  /* sizeof(moe_measurement)                                                          */
  uint32_t graph;        /* not 0: what the function launches is captured once and replayed; 0: the function's host
                            code launches it each time, on an idle device                                    */
  int64_t warmups;       /* runs before the first that is timed                                              */
  int64_t runs;          /* timed runs, at least 1                                                           */
  int64_t flush_bytes;   /* written before each run, so that nothing it reads is in a cache; 0: nothing      */
  float *milliseconds;   /* [runs] receives the time of each, by the device's own clock                      */
} moe_measurement;

/* Runs a function of a device program again and again on the same inputs, and times what it does on the device: not
 * the copies of inputs, which are made once, nor those of outputs, which are the last run's. All else is as for
 * moe_session_call. Refused on the CPU, and in sessions with `record_load` or `profile`, which look at each run. */
MOE_API moe_status moe_session_measure(moe_session *session, const char *function, const moe_tensor *inputs,
                                       size_t num_inputs, moe_tensor *outputs, size_t num_outputs,
                                       const moe_measurement *measurement);

/* --- Statistics ----------------------------------------------------------------------------------------- */

/* How many token rows each expert of one routing plan got, added up since the session began or since
 * moe_session_clear. */
typedef struct moe_load {
  int32_t layer;        /* decoder layer of the model, or the number of the plan in its function            */
  uint32_t reserved;    /* 0                                                                                */
  int64_t experts;      /* entries of `rows`                                                                */
  uint64_t calls;       /* times the plan was made                                                          */
  uint64_t total_rows;  /* sum of `rows`                                                                    */
  const uint64_t *rows; /* rows per expert; the session's, valid until its next call                         */
} moe_load;

/* Load of the n-th plan. MOE_INVALID_ARGUMENT when there is none (any more). Needs `record_load`. */
MOE_API moe_status moe_session_load(moe_session *session, size_t index, moe_load *load);

typedef struct moe_profile_entry {
  const char *kernel;   /* name, as in the symbols of the program; the program's                            */
  uint64_t calls;
  uint64_t nanoseconds; /* wall time inside it, kernels that it started left out; of a device program, the
                           device's own time                                                                */
} moe_profile_entry;

/* The n-th kernel, in the order of first use. MOE_INVALID_ARGUMENT when there is none (any more). Needs
 * `profile`. Name "" is what was spent in the program outside of all kernels; it comes first. */
MOE_API moe_status moe_session_profile(moe_session *session, size_t index, moe_profile_entry *entry);

/* Sets loads and profile to zero. */
MOE_API moe_status moe_session_clear(moe_session *session);

/* --- Layout --------------------------------------------------------------------------------------------- */

#if defined(__cplusplus)
#define MOE_ASSERT_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), "layout of " #type)
#else
#define MOE_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "layout of " #type)
#endif
MOE_ASSERT_SIZE(moe_open_options, 48);
MOE_ASSERT_SIZE(moe_tensor, 80);
MOE_ASSERT_SIZE(moe_session_options, 48);
MOE_ASSERT_SIZE(moe_measurement, 40);
MOE_ASSERT_SIZE(moe_load, 40);
MOE_ASSERT_SIZE(moe_profile_entry, 24);
MOE_ASSERT_SIZE(moe_descriptor, 152);
MOE_ASSERT_SIZE(moe_value_info, 96);
MOE_ASSERT_SIZE(moe_function_info, 48);
MOE_ASSERT_SIZE(moe_parameter_info, 96);
MOE_ASSERT_SIZE(moe_kernel_info, 24);
MOE_ASSERT_SIZE(moe_device_info, 48);
MOE_ASSERT_SIZE(moe_program_info, 144);
MOE_ASSERT_SIZE(moe_weights_header, 64);

#ifdef __cplusplus
}
#endif
#endif /* MOE_RUNTIME_RUNTIME_H */
