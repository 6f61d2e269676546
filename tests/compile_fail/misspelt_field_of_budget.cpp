// expect: resilience: this is no config of a budget
// most lines: 19
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry_budget budget({.ratio = 0.1});
#else
    const resilience::retry_budget budget({.rato = 0.1});
#endif
}
