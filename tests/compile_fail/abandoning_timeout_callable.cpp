// expect: an abandoning timeout runs a copy of the callable
// most lines: 19
#include <resilience/abandoning_timeout.hpp>

#include <memory>
#include <utility>

int main() {
    const resilience::abandoning_timeout timeout(std::chrono::seconds{1});
    auto f = [p = std::make_unique<int>(1)] { return *p; };
#if defined(CONTROL)
    return timeout(std::move(f));
#else
    return timeout(f);
#endif
}
