// expect: resilience: an any_pipeline is made of policies and pipelines
// most lines: 19
#include <resilience/any_pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    resilience::any_pipeline guard;
    guard.add(resilience::retry()).add(resilience::retry());
#else
    resilience::any_pipeline guard;
    guard.add(resilience::retry()).add(5);
#endif
}
