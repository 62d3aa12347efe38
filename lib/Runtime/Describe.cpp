// --help and --version of a compiled program, written from what the program
// says about itself.
#include "Commands.h"
#include "Error.h"
#include "Model.h"
#include "Tensors.h"

using namespace moe::runtime;

static std::string signature(const moe_value_info *values, uint32_t count) {
  std::string result;
  for (uint32_t i = 0; i < count; ++i) {
    if (values[i].role != MOE_ROLE_DATA)
      continue;
    result += (result.empty() ? "" : ", ") + valueName(values[i], i) + ": " +
              elementTypeName(values[i].element_type) +
              shapeText(values[i].shape, values[i].rank);
  }
  return result;
}

static std::string deviceText(const moe_device_info &device) {
  std::string chip = device.chip;
  return chip == "host" ? "the tests' stand-in for a GPU"
                        : "an NVIDIA GPU that takes code for " + chip;
}

void moe::runtime::printHelp(const moe_program_info &program,
                             const std::string &name) {
  std::string text;
  std::string functions;
  for (uint32_t i = 0; i < program.num_functions; ++i) {
    const moe_function_info &function = program.functions[i];
    if (takesState(function))
      continue;
    functions += std::string("  ") + function.name + "(" +
                 signature(function.inputs, function.num_inputs) + ") -> (" +
                 signature(function.outputs, function.num_outputs) + ")\n";
    if (function.summary && *function.summary)
      functions += std::string("      ") + function.summary + "\n";
  }
  text += "usage:\n";
  if (program.is_language_model)
    text += "  " + name + " --tokens IDS.npy --logits OUT.npy\n  " + name +
            " --tokens IDS.npy --generate N [--stop-at-eos]\n";
  if (!functions.empty())
    text += "  " + name +
            " --function NAME --inputs IN.safetensors --outputs "
            "OUT.safetensors\n";
  text += "  " + name + " ... [--threads N] [--bench] [--record-load FILE]\n";
  if (program.is_language_model) {
    text += format("\nlanguage model:\n  tokens: i32/i64[T] -> logits: f32[T, "
                   "%lld], at most %lld positions\n",
                   static_cast<long long>(program.vocabulary),
                   static_cast<long long>(program.max_context));
    if (program.num_moe_layers)
      text +=
          format("  %u mixture-of-experts layers\n", program.num_moe_layers);
  }
  if (!functions.empty())
    text += "\nfunctions ('?' is an extent of any size):\n" + functions;
  text += optionsHelp(program.device);
  if (program.device)
    text += "\nKernels run on " + deviceText(*program.device) +
            format(", at most %lld tokens at once.\n",
                   static_cast<long long>(program.device->max_tokens));
  if (program.weights_size)
    text += "\nThe weights (" + bytesText(program.weights_size) +
            ") lie in the file beside the program.\n";
  print(text);
}

void moe::runtime::printVersion(const moe_program_info &program) {
  std::string id;
  for (uint8_t byte : program.build_id)
    id += format("%02x", byte);
  print(std::string("compiler: ") + program.compiler +
        "\ncpu:      " + program.cpu + "\nfeatures: " + program.features +
        (program.device ? std::string("\ndevice:   ") + program.device->chip
                        : std::string()) +
        "\noptions:  " + program.options + "\nbuild id: " + id +
        format("\nweights:  %llu bytes\n",
               static_cast<unsigned long long>(program.weights_size)));
}
