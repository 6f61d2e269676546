// expect: an abandoning timeout runs a copy of the callable
// most lines: 19
// Moved into the first attempt, it would be gone for the second.
#include <resilience/abandoning_timeout.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <memory>

int main() {
    const resilience::abandoning_timeout timeout(std::chrono::seconds{1});
    const auto retried = resilience::retry() | timeout;
#if defined(CONTROL)
    return retried([p = std::make_shared<int>(1)] { return *p; });
#else
    return retried([p = std::make_unique<int>(1)] { return *p; });
#endif
}
