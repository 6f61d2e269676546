// expect: resilience: a pipeline is made of policies
// most lines: 19
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::pipeline guard{resilience::retry(), resilience::retry()};
    return guard([] { return 1; }) + guard.try_call([] { return 1; }).value();
#else
    const resilience::pipeline guard{resilience::retry(), 5};
    return guard([] { return 1; }) + guard.try_call([] { return 1; }).value();
#endif
}
