// expect: resilience: this is no rate_limiter_config
// most lines: 14
#include <resilience/rate_limiter.hpp>

int main() {
#ifdef CONTROL
    const resilience::rate_limiter guard({.permits = 2});
#else
    const resilience::rate_limiter guard({.permit = 2});
#endif
}
