// The runtime must not know LLVM.
#include "llvm/ADT/StringRef.h"
