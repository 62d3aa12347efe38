/* What the programs written by hand say about themselves: the same functions, on the CPU (FakeProgram.c) and on a
 * device (FakeDevice.c); and those functions that touch no element. Included behind the other functions. */
/* transpose(x: f32[?, ?]) -> f32[?, ?]: only the strides change. */
static void transpose(void **arguments) {
  const moe_descriptor *x = arguments[0];
  moe_descriptor *y = arguments[1];
  *y = *x;
  for (int i = 0; i < 2; ++i) {
    y->sizes_and_strides[i] = x->sizes_and_strides[1 - i];
    y->sizes_and_strides[2 + i] = x->sizes_and_strides[3 - i];
  }
}

/* same(one vector of each element type) -> the same vectors */
static void same(void **arguments) {
  for (int i = 0; i < 9; ++i)
    memcpy(arguments[9 + i], arguments[i],
           sizeof(void *) * 2 + sizeof(int64_t) * 3);
}

#define VECTOR(name, type)                                                     \
  {                                                                            \
    name, type, MOE_ROLE_DATA, 1, 0, {MOE_DYNAMIC}, 0                          \
  }
#define CACHE                                                                  \
  {                                                                            \
    "cache", MOE_F32, MOE_ROLE_CACHE, 4, 0, {                                  \
      MOE_DYNAMIC, MOE_DYNAMIC, heads, width                                   \
    }, 0                                                                       \
  }

#define RING                                                                   \
  {                                                                            \
    "ring", MOE_F32, MOE_ROLE_CACHE, 4, 0,                                     \
        {MOE_DYNAMIC, MOE_DYNAMIC, 1, 1}, window                               \
  }

static const moe_value_info forwardInputs[] = {
    {"tokens", MOE_I32, MOE_ROLE_TOKENS, 1, 0, {MOE_DYNAMIC}, 0},
    {"positions", MOE_I32, MOE_ROLE_POSITIONS, 1, 0, {MOE_DYNAMIC}, 0},
    {"sequences", MOE_I32, MOE_ROLE_SEQUENCES, 1, 0, {MOE_DYNAMIC}, 0},
    {"first_row", MOE_I64, MOE_ROLE_FIRST_ROW, 0, 1, {0}, 0},
    CACHE,
    {"parameters", MOE_I8, MOE_ROLE_PARAMETERS, 1, 0, {MOE_DYNAMIC}, 0},
    RING,
};
static const moe_value_info forwardOutputs[] = {
    {"logits", MOE_F32, MOE_ROLE_LOGITS, 2, 0, {MOE_DYNAMIC, vocabulary}, 0},
    CACHE,
    RING,
};
static const moe_value_info scaleInputs[] = {
    {"x", MOE_F32, MOE_ROLE_DATA, 2, 0, {MOE_DYNAMIC, 4}, 0},
    {"factor", MOE_F32, MOE_ROLE_DATA, 0, 0, {0}, 0},
    {"times", MOE_I64, MOE_ROLE_DATA, 0, 1, {0}, 0},
};
static const moe_value_info scaleOutputs[] = {
    {"y", MOE_F32, MOE_ROLE_DATA, 2, 0, {MOE_DYNAMIC, 4}, 0},
    VECTOR("sums", MOE_F32),
};
static const moe_value_info matrix[] = {
    {"x", MOE_F32, MOE_ROLE_DATA, 2, 0, {MOE_DYNAMIC, MOE_DYNAMIC}, 0}};
static const moe_value_info vectors[] = {
    VECTOR("f32", MOE_F32), VECTOR("f16", MOE_F16),   VECTOR("bf16", MOE_BF16),
    VECTOR("i32", MOE_I32), VECTOR("i64", MOE_I64),   VECTOR("i8", MOE_I8),
    VECTOR("u8", MOE_U8),   VECTOR("bool", MOE_BOOL), VECTOR("f64", MOE_F64)};

#ifdef FAKE_DEVICE
static const moe_value_info stepInputs[] = {
    {"tokens", MOE_I32, MOE_ROLE_TOKENS, 1, 0, {1}, 0},
    {"positions", MOE_I32, MOE_ROLE_POSITIONS, 1, 0, {1}, 0},
    {"sequences", MOE_I32, MOE_ROLE_SEQUENCES, 1, 0, {1}, 0},
    {"stop", MOE_I32, MOE_ROLE_STOP, 1, 0, {1}, 0},
    CACHE,
    RING,
    {"parameters", MOE_I8, MOE_ROLE_PARAMETERS, 1, 0, {MOE_DYNAMIC}, 0},
};
#endif
#ifdef _OPENMP
static const moe_value_info count[] = {
    {"count", MOE_I32, MOE_ROLE_DATA, 0, 0, {0}, 0}};
#endif

static const moe_function_info functions[] = {
    {"forward", "", 7, 3, forwardInputs, forwardOutputs, forward},
    {"scale", "multiplies every element by factor and times", 3, 2, scaleInputs,
     scaleOutputs, scale},
    {"transpose", "", 1, 1, matrix, matrix, transpose},
    {"same", "", 9, 9, vectors, vectors, same},
    {"a \"quoted\" \\ name", "", 1, 1, matrix, matrix, transpose},
#ifdef FAKE_DEVICE
    {"decode_step", "", 7, 0, stepInputs, NULL, decodeStep},
    {"overrun", "", 1, 0, matrix, NULL, overrun},
    {"peek", "", 1, 0, matrix, NULL, peek},
    {"grow", "", 1, 0, matrix, NULL, grow},
    {"unknown_kernel", "", 1, 0, matrix, NULL, unknownKernel},
    {"tensor_map", "", 1, 0, matrix, NULL, tensorMap},
    {"odd_tensor_map", "", 1, 0, matrix, NULL, tensorMapOfOddRows},
    {"no_blocks", "", 1, 0, matrix, NULL, noBlocks},
    {"many_blocks", "", 1, 0, matrix, NULL, manyBlocks},
#endif
#ifdef _OPENMP
    {"threads", "", 0, 1, NULL, count, threads},
#endif
};
static const moe_parameter_info parameters[] = {
    {"bias", MOE_F32, 1, {4}, MOE_WEIGHTS_SECTION, 16}};
static const int32_t eos[] = {1, 2};
static const int32_t moeLayers[] = {1, 3};

/* Tests of the CPU check compile this file for a CPU that does not exist. */
#ifndef FAKE_FEATURES
#define FAKE_FEATURES "sse2,cmov"
#endif

const moe_program_info moe_program = {
    sizeof(moe_program_info),
    MOE_PROGRAM_VERSION,
    "moe-compile 0.0.0 (by hand)",
    "fake-cpu",
    FAKE_FEATURES,
    "--fake",
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    MOE_WEIGHTS_SECTION + 64,
    sizeof(functions) / sizeof(functions[0]),
    1,
    functions,
    parameters,
    1,
    2,
    eos,
    vocabulary,
    max_context,
    2,
    0,
    moeLayers,
#ifdef FAKE_DEVICE
    &device,
#else
    NULL,
#endif
};
