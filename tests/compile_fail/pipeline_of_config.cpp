// expect: resilience: a pipeline is made of policies
// most lines: 19
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::pipeline guard{resilience::retry(resilience::retry_config{})};
#else
    const resilience::pipeline guard{resilience::retry_config{}};
#endif
}
