// Opening and closing of compiled programs.
#include "Model.h"

#include "CpuFeatures.h"
#include "Error.h"
#include "Tensors.h"

#include <memory>
#include <new>

using namespace moe::runtime;

const moe_function_info *
moe::runtime::findFunction(const moe_program_info &program,
                           const std::string &name) {
  for (uint32_t i = 0; i < program.num_functions; ++i)
    if (name == program.functions[i].name)
      return &program.functions[i];
  return nullptr;
}

bool moe::runtime::takesState(const moe_function_info &function) {
  for (uint32_t i = 0; i < function.num_inputs; ++i)
    if (function.inputs[i].role != MOE_ROLE_DATA &&
        function.inputs[i].role != MOE_ROLE_PARAMETERS)
      return true;
  return false;
}

std::string moe::runtime::valueName(const moe_value_info &value, size_t index) {
  if (value.name && *value.name)
    return value.name;
  return "value" + std::to_string(index);
}

static void checkValues(const moe_value_info *values, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (values[i].rank > MOE_MAX_RANK || !elementType(values[i].element_type) ||
        values[i].role > MOE_ROLE_STOP)
      fail(MOE_INTERNAL_ERROR,
           "the program describes a value in a way this runtime does not know; "
           "compile it again with the compiler of this runtime");
}

/// Checks that program and runtime were made for each other.
static void checkProgram(const moe_program_info &program) {
  if (program.struct_size != sizeof(moe_program_info) ||
      program.version != MOE_PROGRAM_VERSION)
    fail(
        MOE_INTERNAL_ERROR,
        format("the program has interface version %u, this runtime %u; compile "
               "it again",
               program.version, MOE_PROGRAM_VERSION));
  for (uint32_t i = 0; i < program.num_functions; ++i) {
    const moe_function_info &function = program.functions[i];
    checkValues(function.inputs, function.num_inputs);
    checkValues(function.outputs, function.num_outputs);
  }
  if (program.is_language_model && !findFunction(program, "forward"))
    fail(MOE_INTERNAL_ERROR,
         "the program is a language model without a function 'forward'");
  if (program.device && program.device->max_tokens < 1)
    fail(MOE_INTERNAL_ERROR,
         "the program is for a device, but for no tokens at all");
}

moe_status moe_open(const moe_open_options *options, moe_model **model,
                    char *message, size_t message_size) {
  std::string text;
  moe_status status = guard(text, [&] {
    if (!model)
      fail(MOE_INVALID_ARGUMENT, "model is null, expected where to put it");
    *model = nullptr;
    moe_open_options defaults{};
    defaults.struct_size = sizeof(defaults);
    const moe_open_options &o = options ? *options : defaults;
    if (o.struct_size != sizeof(o))
      fail(MOE_INVALID_ARGUMENT,
           format("struct_size is %u, expected sizeof(moe_open_options) = %zu",
                  o.struct_size, sizeof(o)));
    auto made = std::make_unique<moe_model>();
    made->program = o.program ? o.program : &MOE_PROGRAM_SYMBOL;
    if (o.driver)
      made->driver = o.driver;
    const moe_program_info &program = *made->program;
    checkProgram(program);
    checkCpu(program.cpu, program.features);
    if (program.weights_size) {
      made->weights.open(o.weights ? o.weights : findWeights(program), program);
      if (o.verify)
        made->weights.verify(o.progress, o.progress_user);
    }
    *model = made.release();
  });
  copyMessage(text, message, message_size);
  return status;
}

moe_status moe_close(moe_model *model) {
  if (model && model->sessions)
    return MOE_BUSY;
  delete model;
  return MOE_OK;
}

const moe_program_info *moe_model_program(const moe_model *model) {
  return model ? model->program : nullptr;
}

const char *moe_model_weights_path(const moe_model *model) {
  return model ? model->weights.path().c_str() : "";
}
