// Loads the CUDA driver when the first session of a device program asks for it.
#include "CudaDriver.h"

#include "Error.h"

#include <dlfcn.h>

using namespace moe::runtime;
using namespace moe::runtime::cuda;

static const char systemDriver[] = "libcuda.so.1";

static const char remedy[] =
    "; a program for an NVIDIA GPU needs one and its driver";

static void *openLibrary(const std::string &file) {
  const char *name = file.empty() ? systemDriver : file.c_str();
  if (void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL))
    return library;
  const char *why = dlerror();
  fail(MOE_NO_DEVICE, "cannot load the CUDA driver: " +
                          std::string(why ? why : name) +
                          (file.empty() ? remedy : ""));
}

template <typename Pointer>
static void find(void *library, const std::string &file, const char *name,
                 Pointer &function) {
  function = reinterpret_cast<Pointer>(dlsym(library, name));
  if (!function)
    fail(MOE_NO_DEVICE,
         quote(file.empty() ? systemDriver : file) + " has no function '" +
             name + "': expected a CUDA driver of version 12.0 or later");
}

Driver::Driver(const std::string &file) {
  void *library = openLibrary(file);
#define MOE_FIND(name, parameters) find(library, file, #name, name);
  MOE_CUDA_FUNCTIONS(MOE_FIND)
#undef MOE_FIND
  Result result = cuInit(0);
  if (result == noDevice)
    fail(MOE_NO_DEVICE, std::string("the CUDA driver finds no GPU") + remedy);
  if (result == stubLibrary)
    fail(MOE_NO_DEVICE,
         "the CUDA driver is the stub that programs are linked with; expected "
         "the one that came with the GPU's driver");
  if (result == systemDriverMismatch)
    fail(MOE_NO_DEVICE, "the CUDA driver is of another version than the "
                        "system's kernel module; restart the machine");
  if (result != success)
    fail(MOE_NO_DEVICE, "the CUDA driver does not start: " + text(result));
}

std::string Driver::text(Result result) const {
  const char *name = nullptr, *meaning = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &meaning);
  if (!name)
    return format("error %d", result);
  return std::string(name) + (meaning ? " (" + std::string(meaning) + ")" : "");
}
