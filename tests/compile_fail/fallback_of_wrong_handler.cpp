// expect: resilience: the fallback gives no value that the call
// most lines: 19
#include <resilience/fallback.hpp>

#include <exception>

int main() {
#ifdef CONTROL
    const auto guard = resilience::fallback([](const resilience::failure&) { return 1; });
    return guard([] { return 1; });
#else
    const auto guard = resilience::fallback([](const std::exception&) { return 1; });
    return guard([] { return 1; });
#endif
}
