// expect: resilience: the fallback gives no value that the call's result can be made of
// most lines: 19
#include <resilience/fallback.hpp>

#include <string>

int main() {
#ifdef CONTROL
    const auto guard = resilience::fallback(7);
#else
    const auto guard = resilience::fallback(std::string("none"));
#endif
    return guard([] { return 1; });
}
