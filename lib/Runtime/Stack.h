// Whether generated code fits on the stacks that it will run on.
#ifndef MOE_LIB_RUNTIME_STACK_H
#define MOE_LIB_RUNTIME_STACK_H

namespace moe::runtime {

/// Throws Error (MOE_OUT_OF_MEMORY) if the calling thread, or with `parallel`
/// the threads that OpenMP starts, have less stack than generated code needs.
void checkStack(bool parallel);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_STACK_H
