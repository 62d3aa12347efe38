/* The entry points of the stand-in driver: devices, contexts and kernels. Streams are in Streams.c. */
#define _GNU_SOURCE
#include "Driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct Settings settings = {.memory = (size_t)64 << 30,
                            .devices = 1,
                            .capability = 90,
                            .version = 13000};
int lost;
static int initialized, references;
static FILE *log_file;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int depth; /* of the thread's stack of contexts */

void lock(void) { pthread_mutex_lock(&mutex); }
int unlock(int result) {
  pthread_mutex_unlock(&mutex);
  return result;
}

int usable(void) {
  return !initialized ? NOT_INITIALIZED
         : lost       ? lost
         : !depth     ? INVALID_CONTEXT
                      : SUCCESS;
}

void record(const char *format, ...) {
  if (!log_file)
    return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(log_file, format, arguments);
  va_end(arguments);
  fputc('\n', log_file);
  fflush(log_file);
}

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("stand-in driver: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  abort();
}

static void set(const char *key, const char *value) {
  if (!strcmp(key, "log"))
    snprintf(settings.log, sizeof settings.log, "%s", value);
  else if (!strcmp(key, "memory"))
    settings.memory = strtoull(value, NULL, 10);
  else if (!strcmp(key, "devices"))
    settings.devices = atoi(value);
  else if (!strcmp(key, "capability"))
    settings.capability = atoi(value);
  else if (!strcmp(key, "version"))
    settings.version = atoi(value);
  else if (!strcmp(key, "fail-alloc"))
    settings.fail_alloc = atoll(value);
  else if (!strcmp(key, "fail-launch"))
    settings.fail_launch = atoll(value);
  else if (!strcmp(key, "order"))
    snprintf(settings.order, sizeof settings.order, "%s", value);
  else if (!strcmp(key, "fail-load"))
    snprintf(settings.fail_load, sizeof settings.fail_load, "%s", value);
  else
    die("unknown setting '%s' in MOE_STAND_IN", key);
}

static void read_settings(void) {
  const char *given = getenv("MOE_STAND_IN");
  char text[2048], *rest = text, *entry;
  snprintf(text, sizeof text, "%s", given ? given : "");
  while ((entry = strsep(&rest, ",")))
    if (*entry) {
      char *value = strchr(entry, '=');
      if (!value)
        die("expected key=value in MOE_STAND_IN, got '%s'", entry);
      *value = '\0';
      set(entry, value + 1);
    }
  if (*settings.log && !(log_file = fopen(settings.log, "a")))
    die("cannot write the log '%s'", settings.log);
}

API int cuInit(unsigned flags) {
  lock();
  if (flags)
    return unlock(INVALID_VALUE);
  if (!initialized) {
    read_settings();
    memory_watch();
    record("init");
  }
  if (!settings.devices)
    return unlock(NO_DEVICE);
  initialized = 1;
  return unlock(SUCCESS);
}

API int cuDriverGetVersion(int *version) {
  *version = settings.version;
  return SUCCESS;
}

static const struct {
  int result;
  const char *name, *text;
} results[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

static int describe(int result, const char **text, int name) {
  for (size_t i = 0; i < sizeof results / sizeof *results; ++i)
    if (results[i].result == result) {
      *text = name ? results[i].name : results[i].text;
      return SUCCESS;
    }
  *text = NULL;
  return INVALID_VALUE;
}
API int cuGetErrorName(int result, const char **text) {
  return describe(result, text, 1);
}
API int cuGetErrorString(int result, const char **text) {
  return describe(result, text, 0);
}

/* --- Devices and contexts --------------------------------------------------------------------------- */

API int cuDeviceGetCount(int *count) {
  *count = settings.devices;
  return initialized ? SUCCESS : NOT_INITIALIZED;
}

API int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < settings.devices ? SUCCESS : INVALID_DEVICE;
}

API int cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, (size_t)size, "Stand-in %d", device);
  return SUCCESS;
}

API int cuDeviceGetAttribute(int *value, int attribute, int device) {
  enum { major = 75, minor = 76 };
  (void)device;
  *value = attribute == major   ? settings.capability / 10
           : attribute == minor ? settings.capability % 10
                                : -1;
  return attribute == major || attribute == minor ? SUCCESS : INVALID_VALUE;
}

API int cuDevicePrimaryCtxRetain(void **context, int device) {
  lock();
  ++references;
  *context = &references;
  record("retain device %d", device);
  return unlock(SUCCESS);
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
  lock();
  if (--references == 0)
    record("release device %d with %d allocations", device,
           memory_allocations());
  return unlock(references < 0 ? INVALID_CONTEXT : SUCCESS);
}

API int cuCtxPushCurrent_v2(void *context) {
  if (context != &references)
    return INVALID_CONTEXT;
  ++depth;
  return SUCCESS;
}

API int cuCtxPopCurrent_v2(void **context) {
  if (!depth)
    return INVALID_CONTEXT;
  --depth;
  *context = &references;
  return SUCCESS;
}

/* --- Kernels ---------------------------------------------------------------------------------------- */

typedef struct Module {
  void *library;   /* null: PTX */
  const char *ptx; /* the program's */
  Kernel *kernels;
} Module;

static size_t elf_size(const char *image) {
  uint64_t sections;
  uint16_t size, count;
  memcpy(&sections, image + 40, 8);
  memcpy(&size, image + 58, 2);
  memcpy(&count, image + 60, 2);
  return sections + (size_t)size * count; /* linkers put the section headers last */
}

static void *open_library(const char *image) {
  char path[64];
  size_t size = elf_size(image);
  int file = memfd_create("kernels", 0);
  if (file < 0 || write(file, image, size) != (ssize_t)size)
    die("cannot write the kernels' library");
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    die("cannot load the kernels' library: %s", dlerror());
  close(file);
  return library;
}

static int refuse_load(unsigned count, const int *options, void **values) {
  enum { log_buffer = 5, log_size = 6 };
  char *buffer = NULL;
  size_t size = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == log_buffer)
      buffer = values[i];
    if (options[i] == log_size)
      size = (size_t)(uintptr_t)values[i];
  }
  int unsupported = !strcmp(settings.fail_load, "unsupported");
  if (buffer)
    snprintf(buffer, size, "%s\nptxas fatal   : Ptx assembly aborted\n",
             unsupported ? "ptxas application ptx input, line 1; fatal   : "
                           "Unsupported .version 9.0; current version is '8.4'"
                         : "ptxas application ptx input, line 7; error   : "
                           "Unknown symbol 'x'");
  return unsupported ? UNSUPPORTED_PTX_VERSION : INVALID_PTX;
}

API int cuModuleLoadDataEx(Module **module, const void *image, unsigned count,
                           int *options, void **values) {
  lock();
  int result = usable();
  if (!result)
    result = forbid_in_capture("cuModuleLoadDataEx");
  if (!result && *settings.fail_load)
    result = refuse_load(count, options, values);
  int elf = !memcmp(image, "\177ELF", 4);
  if (!result && !elf && !strstr(image, ".version"))
    result = INVALID_IMAGE;
  if (result)
    return unlock(result);
  *module = calloc(1, sizeof **module);
  if (elf)
    (*module)->library = open_library(image);
  else
    (*module)->ptx = image;
  record("load %s", elf ? "elf" : "ptx");
  return unlock(SUCCESS);
}

API int cuModuleUnload(Module *module) {
  lock();
  record("unload");
  while (module->kernels) {
    Kernel *kernel = module->kernels;
    module->kernels = kernel->next;
    free(kernel);
  }
  if (module->library)
    dlclose(module->library);
  free(module);
  return unlock(SUCCESS);
}

API int cuModuleGetFunction(Kernel **function, Module *module,
                            const char *name) {
  lock();
  char other[160];
  Kernel *kernel = calloc(1, sizeof *kernel);
  snprintf(kernel->name, sizeof kernel->name, "%s", name);
  snprintf(other, sizeof other, module->library ? "%s_parameters" : ".entry %s",
           name);
  if (module->library) {
    *(void **)&kernel->function = dlsym(module->library, name);
    kernel->sizes = dlsym(module->library, other);
  }
  int found = module->library ? kernel->function != NULL
                              : strstr(module->ptx, other) != NULL;
  if (!found) {
    free(kernel);
    return unlock(NOT_FOUND);
  }
  kernel->next = module->kernels;
  module->kernels = kernel;
  *function = kernel;
  record("kernel %s", name);
  return unlock(SUCCESS);
}

API int cuFuncSetAttribute(Kernel *kernel, int attribute, int value) {
  enum { max_dynamic_shared = 8, most = 232448 };
  if (attribute != max_dynamic_shared || value > most)
    return INVALID_VALUE;
  kernel->shared_bytes = value;
  return SUCCESS;
}
