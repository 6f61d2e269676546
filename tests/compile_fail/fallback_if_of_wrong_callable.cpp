// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/fallback.hpp>

int main() {
#ifdef CONTROL
    const auto guard = resilience::fallback_if([](const resilience::failure&) { return true; }, 5);
#else
    const auto guard = resilience::fallback_if([](int) { return true; }, 5);
#endif
}
