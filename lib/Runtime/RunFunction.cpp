// --function: tensors in, tensors out, and its --bench.
#include "Commands.h"
#include "Error.h"
#include "Files.h"
#include "Model.h"
#include "Npy.h"
#include "Safetensors.h"
#include "Statistics.h"

#include <deque>
#include <optional>

using namespace moe::runtime;

static bool endsWith(const std::string &text, const std::string &end) {
  return text.size() > end.size() &&
         !text.compare(text.size() - end.size(), end.size(), end);
}

/// The values that the caller gives or receives, with their names.
static std::vector<std::string> dataNames(const moe_value_info *values,
                                          uint32_t count) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; ++i)
    if (values[i].role == MOE_ROLE_DATA)
      names.push_back(valueName(values[i], i));
  return names;
}

static const moe_function_info &chooseFunction(const moe_program_info &program,
                                               const std::string &name) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < program.num_functions; ++i)
    names.push_back(program.functions[i].name);
  if (name.empty() && names.size() == 1)
    return program.functions[0];
  if (name.empty())
    fail(MOE_INVALID_ARGUMENT,
         "--function is missing; the program has " + listText(names));
  if (const moe_function_info *found = findFunction(program, name))
    return *found;
  std::string near = nearest(name, names);
  fail(MOE_INVALID_ARGUMENT,
       "no function " + quote(name) + "; " +
           (near.empty() ? "the program has " + listText(names)
                         : "did you mean '" + near + "'?"));
}

/// Checks that the files are one .safetensors or one .npy for each value.
static bool areNpy(const std::vector<std::string> &paths,
                   const std::vector<std::string> &names, const char *option) {
  if (paths.size() == 1 && endsWith(paths[0], ".safetensors"))
    return false;
  for (const std::string &path : paths)
    if (!endsWith(path, ".npy"))
      fail(MOE_INVALID_ARGUMENT,
           std::string(option) + " got " + quote(path) +
               ", expected one .safetensors file or .npy files");
  if (paths.size() != names.size())
    fail(MOE_INVALID_ARGUMENT, format("%s got %zu .npy files, expected %zu: ",
                                      option, paths.size(), names.size()) +
                                   listText(names));
  return true;
}

static std::vector<Tensor> readInputs(const std::vector<std::string> &paths,
                                      const std::vector<std::string> &names) {
  std::vector<Tensor> inputs;
  if (names.empty() && paths.empty())
    return inputs;
  if (paths.empty())
    fail(MOE_INVALID_ARGUMENT,
         "--inputs is missing; the function takes " + listText(names));
  if (areNpy(paths, names, "--inputs")) {
    for (const std::string &path : paths)
      inputs.push_back(readNpy(path));
    return inputs;
  }
  SafetensorsReader reader(paths[0]);
  for (const std::string &name : names)
    inputs.push_back(reader.read(name));
  return inputs;
}

static void writeOutputs(std::deque<OutputFile> &files, bool npy,
                         const std::vector<moe_tensor> &values,
                         const std::vector<std::string> &names) {
  std::vector<Tensor> outputs(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    outputs[i].name = names[i];
    outputs[i].view = values[i];
  }
  if (!npy)
    writeSafetensors(files[0], outputs);
  else
    for (size_t i = 0; i < files.size(); ++i)
      writeNpy(files[i], outputs[i].view, "output " + quote(names[i]));
  for (OutputFile &file : files)
    file.commit();
}

void moe::runtime::runFunction(moe_model &model, const Options &options) {
  const moe_program_info &program = *moe_model_program(&model);
  const moe_function_info &function = chooseFunction(program, options.function);
  if (takesState(function))
    fail(MOE_INVALID_ARGUMENT,
         quote(function.name) + " is a part of the language model: run it by "
                                "--tokens IDS.npy");
  std::vector<std::string> inputNames =
      dataNames(function.inputs, function.num_inputs);
  std::vector<std::string> outputNames =
      dataNames(function.outputs, function.num_outputs);
  bool measured =
      options.bench || options.profile || !options.recordLoad.empty();
  if (options.outputs.empty() && !outputNames.empty() && !measured)
    fail(MOE_INVALID_ARGUMENT,
         "--outputs is missing; the function gives " + listText(outputNames));
  std::vector<Tensor> inputs = readInputs(options.inputs, inputNames);

  std::vector<std::string> read = options.inputs, written = options.outputs;
  read.push_back(moe_model_weights_path(&model));
  written.push_back(options.recordLoad);
  checkDistinct(read, written);
  bool npy = false;
  std::deque<OutputFile> files;
  std::optional<OutputFile> load;
  if (!options.outputs.empty()) {
    npy = areNpy(options.outputs, outputNames, "--outputs");
    for (const std::string &path : options.outputs)
      files.emplace_back(path);
  }
  if (!options.recordLoad.empty())
    load.emplace(options.recordLoad);

  // A model's own limit of positions would fill a device with caches.
  SessionHandle session = makeSession(model, options, program.device ? 1 : 0);
  std::vector<moe_tensor> arguments, results;
  for (const Tensor &input : inputs)
    arguments.push_back(input.view);
  auto call = [&] {
    results.assign(outputNames.size(), moe_tensor{});
    check(*session,
          moe_session_call(session.get(), function.name, arguments.data(),
                           arguments.size(), results.data(), results.size()));
  };
  call();
  if (options.bench) {
    check(*session, moe_session_clear(session.get()));
    Timing timing;
    Repeats repeats(options.repeats);
    while (repeats.more()) {
      uint64_t start = now();
      call();
      timing.samples.push_back(static_cast<double>(now() - start) / 1e6);
    }
    print(format("{\"function\": %s, \"ms_per_call\": %.6g, \"threads\": "
                 "%d, \"repeats\": %lld, \"spread\": %.4g%s}\n",
                 jsonText(function.name).c_str(), timing.median(),
                 session->threads, static_cast<long long>(repeats.done()),
                 timing.spread(), deviceJson(*session).c_str()));
  }
  if (!files.empty())
    writeOutputs(files, npy, results, outputNames);
  if (load) {
    int64_t rows =
        !arguments.empty() && arguments[0].rank ? arguments[0].shape[0] : 0;
    std::string text = loadJson(*session, rows);
    load->write(text.data(), text.size());
    load->commit();
  }
  if (options.profile)
    printProfile(*session);
}
