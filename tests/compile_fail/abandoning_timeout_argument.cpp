// expect: an abandoning timeout runs on copies of the arguments
// most lines: 19
#include <resilience/abandoning_timeout.hpp>

#include <functional>
#include <memory>

int main() {
    const resilience::abandoning_timeout timeout(std::chrono::seconds{1});
    auto p = std::make_unique<int>(1);
    const auto f = [](const std::unique_ptr<int>& q) { return *q; };
#if defined(CONTROL)
    return timeout(f, std::ref(p));
#else
    return timeout(f, p);
#endif
}
