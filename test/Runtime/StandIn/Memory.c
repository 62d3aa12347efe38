/* Device memory of the stand-in driver: between guard pages, hidden while nothing runs. */
#define _GNU_SOURCE
#include "StandIn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page = 4096, alignment = 256, pattern = 0xa5 };

typedef struct Allocation {
  int number;
  char *base; /* of the guard page before it */
  size_t pages;
  char *user;
  size_t bytes;
  struct Allocation *next;
} Allocation;

static Allocation *allocations;
static int made;
static int exposed;

typedef struct Pinned {
  char *memory;
  size_t bytes;
  struct Pinned *next;
} Pinned;
static Pinned *pinned;

size_t memory_used(void) {
  size_t total = 0;
  for (Allocation *a = allocations; a; a = a->next)
    total += a->bytes;
  return total;
}

int memory_allocations(void) {
  int count = 0;
  for (Allocation *a = allocations; a; a = a->next)
    ++count;
  return count;
}

static void protect(const Allocation *a, int protection) {
  if (mprotect(a->base + page, a->pages * page, protection))
    die("cannot protect memory");
}

int memory_allocate(uint64_t *memory, size_t bytes) {
  static int64_t count;
  size_t used = memory_used();
  if (++count == settings.fail_alloc || bytes > settings.memory - used) {
    record("alloc %zu refused", bytes);
    return OUT_OF_MEMORY;
  }
  Allocation *a = calloc(1, sizeof *a);
  size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  a->pages = (rounded + page - 1) / page;
  a->base = mmap(NULL, (a->pages + 2) * page, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (a->base == MAP_FAILED) {
    free(a);
    return OUT_OF_MEMORY;
  }
  protect(a, PROT_READ | PROT_WRITE);
  /* Its end lies at the guard page, for overruns are commoner than underruns. */
  a->user = a->base + page + a->pages * page - rounded;
  a->bytes = bytes;
  a->number = made++;
  memset(a->base + page, pattern, (size_t)(a->user - a->base) - page);
  memset(a->user + bytes, pattern, rounded - bytes);
  /* Not a number to whoever reads it before it is written. */
  memset(a->user, 0xff, bytes < (64u << 20) ? bytes : (64u << 20));
  if (!exposed)
    protect(a, PROT_NONE);
  a->next = allocations;
  allocations = a;
  *memory = (uint64_t)(uintptr_t)a->user;
  record("alloc #%d %zu", a->number, bytes);
  return SUCCESS;
}

/* Its memory must be exposed. */
static void check(const Allocation *a, const char *after) {
  const char *end = a->base + page + a->pages * page;
  for (const char *p = a->base + page; p < a->user; ++p)
    if (*(const unsigned char *)p != pattern)
      die("%s wrote %zu bytes before allocation #%d", after,
          (size_t)(a->user - p), a->number);
  for (const char *p = a->user + a->bytes; p < end; ++p)
    if (*(const unsigned char *)p != pattern)
      die("%s wrote %zu bytes behind allocation #%d of %zu", after,
          (size_t)(p - a->user) - a->bytes, a->number, a->bytes);
}

int memory_free(uint64_t memory) {
  for (Allocation **link = &allocations; *link; link = &(*link)->next) {
    Allocation *a = *link;
    if ((uint64_t)(uintptr_t)a->user != memory)
      continue;
    record("free #%d", a->number);
    *link = a->next;
    munmap(a->base, (a->pages + 2) * page);
    free(a);
    return SUCCESS;
  }
  return INVALID_VALUE;
}

int memory_describe(uint64_t memory, size_t bytes, char text[64]) {
  for (Allocation *a = allocations; a; a = a->next) {
    uint64_t start = (uint64_t)(uintptr_t)a->user;
    if (memory < start || memory - start > a->bytes ||
        bytes > a->bytes - (memory - start))
      continue;
    snprintf(text, 64, "#%d+%zu", a->number, (size_t)(memory - start));
    return 1;
  }
  return 0;
}

void memory_expose(void) {
  exposed = 1;
  for (Allocation *a = allocations; a; a = a->next)
    protect(a, PROT_READ | PROT_WRITE);
}

void memory_hide(const char *after) {
  for (Allocation *a = allocations; a; a = a->next) {
    check(a, after);
    protect(a, PROT_NONE);
  }
  exposed = 0;
}

const char *running;

static void touched(int number, siginfo_t *info, void *context) {
  const char *who = running ? running : "the host", *what = "no device memory";
  (void)context;
  for (Allocation *a = allocations; a; a = a->next)
    if ((char *)info->si_addr >= a->base &&
        (char *)info->si_addr < a->base + (a->pages + 2) * page)
      what = running ? "memory beside an allocation" : "device memory";
  /* Nothing else is safe in a handler. */
  const char *parts[] = {"stand-in driver: ", who, " touched ", what, "\n"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
    if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
      break;
  signal(number, SIG_DFL);
}

void memory_watch(void) {
  struct sigaction action = {0};
  action.sa_sigaction = touched;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, NULL);
}

int pinned_allocate(void **memory, size_t bytes) {
  Pinned *p = calloc(1, sizeof *p);
  size_t rounded = (bytes + page - 1) / page * page;
  p->memory = aligned_alloc(page, rounded ? rounded : page);
  p->bytes = bytes;
  p->next = pinned;
  pinned = p;
  *memory = p->memory;
  return SUCCESS;
}

int pinned_free(void *memory) {
  for (Pinned **link = &pinned; *link; link = &(*link)->next)
    if ((*link)->memory == memory) {
      Pinned *p = *link;
      *link = p->next;
      free(p->memory);
      free(p);
      return SUCCESS;
    }
  return INVALID_VALUE;
}

int is_pinned(const void *memory, size_t bytes) {
  for (Pinned *p = pinned; p; p = p->next)
    if ((const char *)memory >= p->memory &&
        (const char *)memory + bytes <= p->memory + p->bytes)
      return 1;
  return 0;
}
