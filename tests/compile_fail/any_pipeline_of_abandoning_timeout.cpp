// expect: resilience: any_pipeline cannot hold this policy
// most lines: 19
#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::any_pipeline guard{resilience::timeout(std::chrono::seconds{5})};
#else
    const resilience::any_pipeline guard{resilience::abandoning_timeout(std::chrono::seconds{5})};
#endif
}
