//===- RotaryConfig.cpp - Frequencies of rotary embedding -----------------===//
//
// Reads rope_parameters (transformers 5) or rope_theta and rope_scaling
// (before), and computes the frequencies in float where torch does.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

#include <cmath>

using namespace mlir::moe;
using llvm::StringRef;
using llvm::Twine;

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kMaxFactor = 1e9;

/// base ^ (2i / size), rounded to float once: torch computes it in float,
/// within a unit in the last place of this.
std::vector<float> getPowers(double base, int64_t size) {
  std::vector<float> powers;
  for (int64_t i = 0; i < size; i += 2)
    powers.push_back(static_cast<float>(
        std::pow(base, static_cast<double>(static_cast<float>(i) / size))));
  return powers;
}

void scaleLinear(Config &parameters, Rotary &rotary) {
  float factor =
      static_cast<float>(parameters.number("factor", 1, 1e-9, kMaxFactor));
  for (float &frequency : rotary.inverseFrequencies)
    frequency /= factor;
}

void scaleLlama3(Config &parameters, Rotary &rotary, double original) {
  double factor = parameters.number("factor", 1, 1e-9, kMaxFactor);
  double low = parameters.number("low_freq_factor", 1, 1e-9, kMaxFactor);
  double high = parameters.number("high_freq_factor", 4, 1e-9, kMaxFactor);
  if (high <= low) {
    parameters.fail(
        "'high_freq_factor': expected more than 'low_freq_factor', got " +
        llvm::Twine(std::to_string(high)));
    return;
  }
  for (float &frequency : rotary.inverseFrequencies) {
    float wavelength = static_cast<float>(2 * kPi / frequency);
    if (wavelength < original / high)
      continue;
    if (wavelength > original / low) {
      frequency = static_cast<float>(frequency / factor);
      continue;
    }
    double smooth = (original / wavelength - low) / (high - low);
    frequency = static_cast<float>((1 - smooth) * frequency / factor +
                                   smooth * frequency);
  }
}

/// How much longer contexts sharpen scores.
double getScale(double factor, double weight) {
  return factor <= 1 ? 1.0 : 0.1 * weight * std::log(factor) + 1;
}

void scaleYarn(Config &parameters, Rotary &rotary, int64_t size, double base,
               double original, int64_t maxContext) {
  double factor =
      parameters.number("factor", maxContext / original, 1e-9, kMaxFactor);
  std::optional<double> attention =
      parameters.optionalNumber("attention_factor");
  double scale = parameters.optionalNumber("mscale").value_or(0);
  double scaleAll = parameters.optionalNumber("mscale_all_dim").value_or(0);
  if (!attention)
    attention = scale != 0 && scaleAll != 0
                    ? getScale(factor, scale) / getScale(factor, scaleAll)
                    : getScale(factor, 1);
  rotary.scaling = static_cast<float>(*attention);

  auto valueOr = [](std::optional<double> value, double otherwise) {
    return value && *value != 0 ? *value : otherwise;
  };
  double fast = valueOr(parameters.optionalNumber("beta_fast"), 32);
  double slow = valueOr(parameters.optionalNumber("beta_slow"), 1);
  if (fast <= 0 || slow <= 0 || base <= 1) {
    parameters.fail("expected 'beta_fast' and 'beta_slow' above 0 and "
                    "'rope_theta' above 1");
    return;
  }
  auto getDimension = [&](double rotations) {
    return size * std::log(original / (rotations * 2 * kPi)) /
           (2 * std::log(base));
  };
  double low = getDimension(fast), high = getDimension(slow);
  if (parameters.boolean("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(size - 1));
  if (low == high)
    high += 0.001;
  std::vector<float> powers = getPowers(base, size);
  for (size_t i = 0; i < powers.size(); ++i) {
    float ramp = static_cast<float>((i - low) / (high - low));
    float kept = 1 - std::min(std::max(ramp, 0.0f), 1.0f);
    float interpolated = 1.0f / (static_cast<float>(factor) * powers[i]);
    rotary.inverseFrequencies[i] =
        interpolated * (1 - kept) + 1.0f / powers[i] * kept;
  }
}

} // namespace

Rotary mlir::moe::readRotary(Config &config, int64_t headSize,
                             int64_t maxContext, double defaultBase,
                             std::optional<double> defaultShare) {
  double base = config.number("rope_theta", defaultBase, 1e-6, 1e18);
  static const llvm::json::Object kNone;
  const llvm::json::Object *object =
      config.child({"rope_scaling", "rope_parameters"});
  Config parameters(object ? *object : kNone,
                    (config.getName() + ": rotary embedding").str());
  base = parameters.number("rope_theta", base, 1e-6, 1e18);
  // Parameters of each kind of layer are objects in the object.
  if (object && llvm::any_of(*object, [](const auto &entry) {
        return entry.second.kind() == llvm::json::Value::Object;
      }))
    parameters.fail("expected one set of parameters for all layers, got "
                    "several");
  double share = parameters.number(
      "partial_rotary_factor",
      config.number("partial_rotary_factor", defaultShare.value_or(1), 0, 1), 0,
      1);
  if (!defaultShare && share != 1)
    config.fail("'partial_rotary_factor': expected 1, got another number; it "
                "is not supported for this architecture");
  int64_t size = static_cast<int64_t>(headSize * share);
  if (size < 2 || size % 2 != 0)
    config.fail("'partial_rotary_factor': expected an even number of entries "
                "to turn in heads of " +
                Twine(headSize) + ", got " + Twine(size));

  Rotary rotary;
  for (float power : getPowers(base, size))
    rotary.inverseFrequencies.push_back(1.0f / power);
  std::string type = parameters.text({"rope_type", "type"}, "default");
  // Some configurations have this beside the parameters, and mean it more.
  StringRef key = "original_max_position_embeddings";
  double original =
      (config.has(key) ? config : parameters).number(key, maxContext, 1, 1e12);
  if (type == "linear")
    scaleLinear(parameters, rotary);
  else if (type == "llama3")
    scaleLlama3(parameters, rotary, original);
  else if (type == "yarn")
    scaleYarn(parameters, rotary, size, base, original, maxContext);
  else if (type != "default")
    parameters.fail(
        "'rope_type': expected default, linear, llama3 or yarn, got " +
        quoted(type));
  if (double all = parameters.optionalNumber("mscale_all_dim").value_or(0);
      all != 0 && type != "default")
    rotary.scoreScale = std::pow(
        getScale(parameters.number("factor", 1, 1e-9, kMaxFactor), all), 2);
  if (!std::isfinite(rotary.scaling) ||
      !std::isfinite(static_cast<float>(rotary.scoreScale)))
    parameters.fail("expected 'attention_factor', 'mscale' and "
                    "'mscale_all_dim' to give finite scales");
  if (parameters.failed())
    config.adopt(parameters);
  return rotary;
}
