/* What a compiled program tells the runtime about itself: plain C, no MLIR, no C++.
 *
 * moe-compile emits one constant `moe_program_info` into each object file, under the symbol
 * MOE_PROGRAM_SYMBOL. The runtime reads it to know which functions exist, what they take and give,
 * what the language model's state looks like and where each weight lies in the weights file.
 *
 * Everything in this header is immutable data with the lifetime of the program.
 */
#ifndef MOE_RUNTIME_PROGRAM_H
#define MOE_RUNTIME_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_PROGRAM_VERSION 1u
#define MOE_MAX_RANK 8
#define MOE_DYNAMIC (-1) /* an extent known only when the function is called; of inputs also numbers below, each of
                            which stands for one extent wherever it stands among the inputs of a function */

typedef enum moe_element_type {
  MOE_F32 = 0, MOE_F16 = 1, MOE_BF16 = 2, MOE_I32 = 3, MOE_I64 = 4,
  MOE_I8 = 5, MOE_U8 = 6, MOE_BOOL = 7, MOE_F64 = 8
} moe_element_type;

/* What the runtime must pass for an argument, or do with a result, of a function. */
typedef enum moe_role {
  MOE_ROLE_DATA = 0,       /* an ordinary tensor: the caller gives it, or receives it            */
  MOE_ROLE_PARAMETERS = 1, /* the mapped weights file: rank 1, i8, the whole file from byte 0     */
  MOE_ROLE_TOKENS = 2,     /* i32 [T]: token ids                                                   */
  MOE_ROLE_POSITIONS = 3,  /* i32 [T]: position of each token in its sequence, from 0               */
  MOE_ROLE_SEQUENCES = 4,  /* i32 [T]: which sequence (first extent of every cache) a token is of */
  MOE_ROLE_FIRST_ROW = 5,  /* index scalar: logits are computed for rows first_row..T-1           */
  MOE_ROLE_CACHE = 6,      /* state: [sequences, positions, ...], zero pages at first, kept by the session,
                              updated in place; the result of the same role aliases it               */
  MOE_ROLE_LOGITS = 7,     /* f32 [T - first_row, vocabulary]                                      */
  MOE_ROLE_STOP = 8        /* i32 [1], of the function "decode_step" only                           */
} moe_role;

/* One argument or result. A scalar `index` argument has rank 0 and element_type MOE_I64 with
 * is_index = 1 and is passed as a pointer to int64_t; everything else is a tensor. */
typedef struct moe_value_info {
  const char *name;
  uint32_t element_type; /* moe_element_type */
  uint32_t role;         /* moe_role */
  uint32_t rank;
  uint32_t is_index;
  int64_t shape[MOE_MAX_RANK]; /* MOE_DYNAMIC or less where not static */
  int64_t window; /* of a cache: 0, it has a row for every position; else a token sees at most this many
                     positions, itself included, and the cache is a ring as moe_ring_rows says */
} moe_value_info;

/* A ring keeps the latest positions only. Position p lies in row p % R, where R is the cache's extent minus
 * moe_ring_mirror(window); if p >= R and p % R < moe_ring_mirror(window), also in row p % R + R, so that what
 * a token sees is one run of rows. R is a multiple of 16. Where at most `piece` tokens enter at once, R is
 * no less than window + piece - 1, or than the number of positions, whichever is smaller. */
#if defined(__GNUC__)
__attribute__((unused)) /* by most who include this */
#endif
static inline int64_t moe_ring_mirror(int64_t window) { return (window + 30) / 16 * 16; }
#if defined(__GNUC__)
__attribute__((unused))
#endif
static inline int64_t moe_ring_rows(int64_t window, int64_t positions, int64_t piece) {
  int64_t rows = window + piece - 1 < positions ? window + piece - 1 : positions;
  return (rows + 15) / 16 * 16 + moe_ring_mirror(window);
}

/* A tensor in memory as generated code passes it: row major, contiguous on entry. The layout is
 * MLIR's memref descriptor for that rank: `sizes` and `strides` follow each other with `rank` entries
 * each (so a descriptor of rank r is 3 + 2r words of 8 bytes). Strides are in elements. */
typedef struct moe_descriptor {
  void *allocated;
  void *aligned;
  int64_t offset;
  int64_t sizes_and_strides[2 * MOE_MAX_RANK];
} moe_descriptor;

/* One function of the program. `entry` takes one pointer per argument, in order: to a descriptor of
 * its rank (tensor), or to an int64_t (index scalar); then one pointer per result, each to a
 * descriptor the function fills. Result memory belongs to the session's workspace and is valid until
 * the next call in that session. */
typedef struct moe_function_info {
  const char *name;
  const char *summary; /* one line for --help, may be empty */
  uint32_t num_inputs;
  uint32_t num_outputs;
  const moe_value_info *inputs;
  const moe_value_info *outputs;
  void (*entry)(void **arguments);
} moe_function_info;

/* One tensor of the weights file. */
typedef struct moe_parameter_info {
  const char *name;
  uint32_t element_type;
  uint32_t rank;
  int64_t shape[MOE_MAX_RANK];
  uint64_t offset; /* bytes from the start of the file, a multiple of 64 */
  uint64_t size;   /* bytes */
} moe_parameter_info;

/* One kernel of a device program. */
typedef struct moe_kernel_info {
  const char *name;
  uint32_t num_parameters;
  uint32_t threads;      /* of a block */
  uint32_t shared_bytes; /* dynamic shared memory of a block */
  uint32_t reserved;
} moe_kernel_info;

/* A program whose kernels run on a device. All that its functions allocate, and every tensor they are given or
 * give back, is device memory; only index scalars and descriptors are the host's. Host code must not look into
 * device memory: what it launches runs later, in the order of the launches. */
typedef struct moe_device_info {
  uint32_t struct_size; /* sizeof(moe_device_info) */
  uint32_t num_kernels;
  const char *chip;  /* "sm_90a", or "host": the image is a shared library for the stand-in driver */
  const void *image; /* PTX text with its terminating zero, or an ELF file */
  uint64_t image_size;
  const moe_kernel_info *kernels;
  int64_t max_tokens; /* most tokens of one call that the program was compiled for */
} moe_device_info;

typedef struct moe_program_info {
  uint32_t struct_size; /* sizeof(moe_program_info) */
  uint32_t version;     /* MOE_PROGRAM_VERSION */
  const char *compiler; /* "moe-compile 0.1.0 (LLVM 22.1.8)" */
  const char *cpu;      /* LLVM name of the CPU compiled for */
  const char *features; /* comma separated x86 features the code needs, LLVM's names: "avx2,fma,f16c" */
  const char *options;  /* the options of moe-compile that shaped the code */
  uint8_t build_id[16]; /* equal in the weights file's header */
  uint64_t weights_size; /* bytes of the whole weights file, 0: the program has none */
  uint32_t num_functions;
  uint32_t num_parameters;
  const moe_function_info *functions;
  const moe_parameter_info *parameters;
  /* Language models only (is_language_model = 1): the function named "forward" has the roles above. */
  uint32_t is_language_model;
  uint32_t num_eos;
  const int32_t *eos;     /* ids that --stop-at-eos stops at */
  int64_t vocabulary;
  int64_t max_context;    /* the model's own limit; --context is checked against it */
  uint32_t num_moe_layers;
  uint32_t reserved;
  const int32_t *moe_layers; /* decoder layer index of the n-th routing plan of one forward pass */
  const moe_device_info *device; /* null: a program for the CPU */
} moe_program_info;

/* A device program that is a language model may have a function "decode_step": one step of greedy decoding that
 * the host never looks into, so that it can be captured into a graph and replayed. Its inputs are tokens,
 * positions, sequences and stop, each i32 [1] and updated in place, the caches and the parameters; outputs, if it
 * has any, are these again. It
 *   changes nothing where stop is positive; otherwise it
 *   feeds the token at its position of its sequence, as "forward" does;
 *   replaces the token by the id of the largest logit, the lowest of equal ones, NaN never;
 *   adds 1 to the position;
 *   makes stop positive if stop is 0 and the new token is one of `eos` (a negative stop stays as it is); which positive
 *   number that is, is the program's own matter;
 *   if every logit is NaN, sets the token to -1 and makes stop positive. */

#define MOE_PROGRAM_SYMBOL moe_program
extern const moe_program_info moe_program;

/* The weights file: this header, then tensors at the offsets of moe_parameter_info, the first at a
 * multiple of 4096 and each at a multiple of 64, gaps zero. All numbers little endian. */
#define MOE_WEIGHTS_MAGIC "MOEWGT\0\1"
#define MOE_WEIGHTS_SECTION 4096
#define MOE_WEIGHTS_ALIGNMENT 64
typedef struct moe_weights_header {
  char magic[8];            /* MOE_WEIGHTS_MAGIC */
  uint32_t version;         /* 1 */
  uint32_t header_size;     /* sizeof(moe_weights_header) */
  uint64_t file_size;       /* bytes of the whole file */
  uint64_t num_tensors;
  uint8_t build_id[16];
  uint64_t data_checksum;   /* XXH64 (seed 0) of bytes [4096, file_size): what --verify compares */
  uint64_t header_checksum; /* XXH64 (seed 0) of this struct with header_checksum = 0 */
} moe_weights_header;

/* What generated code calls. The implementations act on the session that runs on the calling
 * thread; calls come from serial code only. */
void *_mlir_memref_to_llvm_alloc(size_t bytes); /* session workspace, 64-byte aligned; never returns null */
void *_mlir_memref_to_llvm_aligned_alloc(size_t alignment, size_t bytes);
void _mlir_memref_to_llvm_free(void *pointer);
int64_t moe_workspace_mark(void);            /* at function entry ... */
void moe_workspace_release(int64_t mark);    /* ... and at its end: frees what was allocated since */
/* Row counts of one routing plan: offsets[0..experts], ascending; the n-th call in a forward pass is of
 * the n-th MoE layer. Does nothing unless --record-load is on. `offsets` is device memory in a device program. */
void moe_record_load(const int64_t *offsets, int64_t experts);
/* Runs kernel `kernel` of moe_device_info with `blocks` blocks, after all that was launched before; 0 blocks launch
 * nothing. parameters[i] points to the i-th argument, as cuLaunchKernel takes it, and is read before this returns.
 * After an error of the call nothing is launched any more. */
void moe_gpu_launch(uint32_t kernel, int64_t blocks, void **parameters);
/* A word (uint32_t) of device memory that is the session's: 0 before the first kernel, and whenever one ends. Blocks of
 * a kernel count in it which of them is the last, which leaves 0 behind. Kernels of a session run one after the other, so
 * one word serves all. Null after an error of the call; the same address in each call, so launches that take it can be
 * captured once it was asked for. */
void *moe_gpu_ticket(void);
/* Writes the 128 bytes of a tensor map (CUtensorMap) to `map`, which is aligned to 64, as cuTensorMapEncodeTiled does:
 * no interleaving, all elements, 128 bytes at once into the second level cache, zeros for what lies outside. A
 * parameter of a kernel that is a map by value is a pointer to these bytes. An error counts like one of a launch.
 * `memory` is device memory aligned to 16; dimensions come innermost first:
 *   sizes    elements, rank of them, none 0
 *   strides  bytes from one index to the next, of all but the innermost: rank - 1, multiples of 16
 *   box      elements of one copy, rank of them, at most 256
 * `element` is a CUtensorMapDataType, `swizzle` a CUtensorMapSwizzle. */
void moe_gpu_tensor_map(void *map, void *memory, uint32_t element, uint32_t rank, const uint64_t *sizes,
                        const uint64_t *strides, const uint32_t *box, uint32_t swizzle);
/* Brackets one kernel; `kernel` is a constant name with program lifetime. Does nothing unless --profile. */
void moe_profile_begin(const char *kernel);
void moe_profile_end(const char *kernel);

#ifdef __cplusplus
}
#endif
#endif /* MOE_RUNTIME_PROGRAM_H */
