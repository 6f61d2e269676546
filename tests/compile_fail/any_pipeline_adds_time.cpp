// expect: resilience: an any_pipeline is made of policies and pipelines
// most lines: 19
#include <resilience/any_pipeline.hpp>
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    resilience::any_pipeline guard;
    guard.add(resilience::timeout(std::chrono::seconds{5}));
#else
    resilience::any_pipeline guard;
    guard.add(std::chrono::seconds{5});
#endif
}
