// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry guard(
        resilience::retry_config{.retry_if = [](const resilience::failure&) { return true; }});
#else
    const resilience::retry guard(resilience::retry_config{.retry_if = [](int) { return true; }});
#endif
}
