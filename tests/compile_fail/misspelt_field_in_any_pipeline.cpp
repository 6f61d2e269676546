// expect: resilience: this is no retry_config
// most lines: 19
#include <resilience/any_pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::any_pipeline guard{resilience::retry({.max_attempts = 4})};
#else
    const resilience::any_pipeline guard{resilience::retry({.max_attempt = 4})};
#endif
}
