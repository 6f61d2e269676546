// expect: resilience: an any_pipeline is made of policies and pipelines
// most lines: 14
#include <resilience/any_pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::any_pipeline guard{resilience::retry()};
#else
    const resilience::any_pipeline guard{3};
#endif
}
