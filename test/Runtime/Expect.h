/* What tests of the C interface written in C expect. */
#ifndef MOE_TEST_RUNTIME_EXPECT_H
#define MOE_TEST_RUNTIME_EXPECT_H

#include <stdio.h>
#include <string.h>

static int failures = 0;

#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      ++failures;                                                              \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
    }                                                                          \
  } while (0)

/* That a call fails with this status, and says this. */
#define EXPECT_ERROR(session, call, status, text)                              \
  do {                                                                         \
    EXPECT((call) == (status));                                                \
    if (!strstr(moe_session_message(session), text)) {                         \
      ++failures;                                                              \
      fprintf(stderr, "%s:%d: expected '%s', got '%s'\n", __FILE__, __LINE__,  \
              text, moe_session_message(session));                             \
    }                                                                          \
  } while (0)

#endif /* MOE_TEST_RUNTIME_EXPECT_H */
