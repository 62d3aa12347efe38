/* What the entry points of the stand-in driver share. */
#ifndef MOE_TEST_RUNTIME_DRIVER_H
#define MOE_TEST_RUNTIME_DRIVER_H

#include "StandIn.h"

#include <pthread.h>

#define API __attribute__((visibility("default")))

void lock(void);
int unlock(int result); /* gives `result` back */

/* What a call that needs a context gives, SUCCESS if it may go on. */
int usable(void);

/* The error of a call that must not happen while this thread captures; it spoils the capture. */
int forbid_in_capture(const char *call);

#endif
