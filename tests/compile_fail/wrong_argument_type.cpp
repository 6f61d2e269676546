// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
// The result is used: what cannot be called has no result, and that is not a second message.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <chrono>
#include <cstddef>
#include <string>

int main() {
    const auto guard = resilience::retry() | resilience::timeout(std::chrono::seconds{2});
    const auto length = [](const std::string& s) { return s.size(); };
#ifdef CONTROL
    const std::size_t n = guard(length, "text");
#else
    const std::size_t n = guard(length, 5);
#endif
    return n == 4 ? 0 : 1;
}
