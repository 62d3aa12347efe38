/* FakeProgram.c for a device: the same model and functions, whose host code launches the kernels of FakeKernels.c.
 * The image is their library (FAKE_IMAGE names its file), or, without one, PTX that no test compiles. Host code
 * cannot look at ids, so id 13 is like any other; functions with faults of their own take its place.
 */
#define FAKE_DEVICE
#include "FakeKernels.h"

#include <stdlib.h>
#include <string.h>

static float *element(const moe_descriptor *d) {
  return (float *)d->aligned + d->offset;
}

static void result(moe_descriptor *d, void *data, int rank, int64_t rows,
                   int64_t columns) {
  d->allocated = d->aligned = data;
  d->offset = 0;
  d->sizes_and_strides[0] = rows;
  d->sizes_and_strides[1] = rank == 1 ? 1 : columns;
  if (rank == 2) {
    d->sizes_and_strides[2] = columns;
    d->sizes_and_strides[3] = 1;
  }
}

static int64_t blocks(int64_t threads) {
  return (threads + threadsOfBlock - 1) / threadsOfBlock;
}

static Model describe(void **tokens, const moe_descriptor *cache,
                      const moe_descriptor *ring) {
  const moe_descriptor *ids = tokens[0], *positions = tokens[1],
                       *sequences = tokens[2];
  return (Model){ids->aligned,
                 positions->aligned,
                 sequences->aligned,
                 NULL,
                 ids->sizes_and_strides[0],
                 element(cache),
                 {cache->sizes_and_strides[4], cache->sizes_and_strides[5]},
                 element(ring),
                 {ring->sizes_and_strides[4], ring->sizes_and_strides[5]},
                 ring->sizes_and_strides[1]};
}

static void store(Model *model) {
  moe_gpu_launch(STORE, blocks(model->count), (void *[]){model});
}

static float *logitsFrom(Model *model, int64_t first,
                         const moe_descriptor *parameters) {
  int64_t rows = model->count - first;
  float *logits =
      _mlir_memref_to_llvm_alloc(sizeof(float) * (size_t)(rows * vocabulary));
  void *weights = parameters->aligned;
  moe_gpu_launch(LOGITS, blocks(rows),
                 (void *[]){model, &first, &weights, &logits});
  return logits;
}

/* Two routing plans over three experts: by the id, and all to the first. */
static void recordLoads(Model *model) {
  int64_t mark = moe_workspace_mark();
  int64_t *byId = _mlir_memref_to_llvm_alloc(4 * sizeof(int64_t));
  int64_t *first = _mlir_memref_to_llvm_alloc(4 * sizeof(int64_t));
  moe_gpu_launch(PLAN, 1,
                 (void *[]){&model->tokens, &model->count,
                            &byId, &first});
  moe_record_load(byId, 3);
  moe_record_load(first, 3);
  moe_workspace_release(mark);
}

static void forward(void **arguments) {
  Model model = describe(arguments, arguments[4], arguments[6]);
  int64_t first = *(const int64_t *)arguments[3];
  /* For the tests of measuring: work space that grows with the tokens. */
  if (getenv("FAKE_WIDE"))
    _mlir_memref_to_llvm_alloc((size_t)model.count << 21);
  store(&model);
  recordLoads(&model);
  result(arguments[7], logitsFrom(&model, first, arguments[5]), 2,
         model.count - first, vocabulary);
  *(moe_descriptor *)arguments[8] = *(const moe_descriptor *)arguments[4];
  *(moe_descriptor *)arguments[9] = *(const moe_descriptor *)arguments[6];
}

/* decode_step(tokens, positions, sequences, stop, cache, ring, parameters) */
static void decodeStep(void **arguments) {
  static size_t growing = 1;
  Model model = describe(arguments, arguments[4], arguments[5]);
  model.stop = ((const moe_descriptor *)arguments[3])->aligned;
  store(&model);
  /* For the tests of capturing: more work space in every step. */
  if (getenv("FAKE_STEP_GROWS"))
    _mlir_memref_to_llvm_alloc((growing *= 4) << 20);
  float *logits = logitsFrom(&model, 0, arguments[6]);
  moe_gpu_launch(ADVANCE, 1, (void *[]){&model, &logits});
}

static void scale(void **arguments) {
  const moe_descriptor *x = arguments[0];
  int64_t rows = x->sizes_and_strides[0], times = *(int64_t *)arguments[2];
  float *from = element(x), *factor = element(arguments[1]);
  float *y = _mlir_memref_to_llvm_alloc(sizeof(float) * (size_t)(rows * 4));
  float *sums = _mlir_memref_to_llvm_alloc(sizeof(float) * (size_t)rows);
  moe_gpu_launch(SCALE, blocks(rows * 4),
                 (void *[]){&from, &factor, &times, &rows, &y});
  moe_gpu_launch(SUMS, blocks(rows), (void *[]){&y, &rows, &sums});
  result(arguments[3], y, 2, rows, 4);
  result(arguments[4], sums, 1, rows, 1);
}

/* overrun(x): a kernel that writes behind the work space. */
static void overrun(void **arguments) {
  enum { chunk = 64 << 20 };
  (void)arguments;
  char *end = (char *)_mlir_memref_to_llvm_alloc(chunk) + chunk;
  moe_gpu_launch(OVERRUN, 1, (void *[]){&end});
}

/* peek(x): host code that looks into device memory. */
static void peek(void **arguments) {
  volatile float value = *element(arguments[0]);
  (void)value;
}

/* grow(x): asks for more work space than small devices have. */
static void grow(void **arguments) {
  (void)arguments;
  _mlir_memref_to_llvm_alloc((size_t)64 << 20);
}

static void unknownKernel(void **arguments) {
  (void)arguments;
  moe_gpu_launch(num_kernels, 1, NULL);
}

static void noBlocks(void **arguments) {
  (void)arguments;
  moe_gpu_launch(STORE, 0, NULL);
}

/* The second launch must not happen. */
static void manyBlocks(void **arguments) {
  char *nowhere = arguments[0];
  moe_gpu_launch(STORE, (int64_t)1 << 31, NULL);
  moe_gpu_launch(OVERRUN, 1, (void *[]){&nowhere});
}

static void encode(void **arguments, uint64_t stride) {
  _Alignas(64) char map[128];
  const moe_descriptor *x = arguments[0];
  uint64_t sizes[] = {8, 4, 2}, strides[] = {stride, 64};
  uint32_t box[] = {8, 2, 1};
  moe_gpu_tensor_map(map, x->aligned, /*bfloat16*/ 9, 3, sizes, strides, box,
                     /*of 128 bytes*/ 3);
}

static void tensorMap(void **arguments) { encode(arguments, 16); }

/* Rows that do not begin at multiples of 16 bytes. */
static void tensorMapOfOddRows(void **arguments) { encode(arguments, 12); }

static const moe_kernel_info kernels[num_kernels] = {
    {"store", 1, threadsOfBlock, 0, 0},
    {"plan", 4, threadsOfBlock, 0, 0},
    {"logits", 4, threadsOfBlock, 100 << 10, 0},
    {"advance", 2, 1, 0, 0},
    {"scale", 5, threadsOfBlock, 0, 0},
    {"sums", 3, threadsOfBlock, 0, 0},
    {"overrun", 1, 1, 0, 0},
};

#ifdef FAKE_IMAGE
__asm__(".section .rodata\n.balign 64\nfake_image: .incbin \"" FAKE_IMAGE
        "\"\n.text\n");
extern const char fake_image[] __asm__("fake_image");
#define FAKE_CHIP "host"
#else
static const char fake_image[] =
    ".version 8.0\n.target sm_90a\n.address_size 64\n"
    ".visible .entry store() { ret; }\n.visible .entry plan() { ret; }\n"
    ".visible .entry logits() { ret; }\n.visible .entry advance() { ret; }\n"
    ".visible .entry scale() { ret; }\n.visible .entry sums() { ret; }\n"
    ".visible .entry overrun() { ret; }\n";
#define FAKE_CHIP "sm_90a"
#endif

static const moe_device_info device = {
    sizeof(moe_device_info), num_kernels, FAKE_CHIP, fake_image, 0, kernels, 8};

#include "FakeTables.h"
