// expect: an abandoning timeout needs a result that can move
// most lines: 19
#include <resilience/abandoning_timeout.hpp>

#include <memory>
#include <mutex>

int main() {
    const resilience::abandoning_timeout timeout(std::chrono::seconds{1});
#if defined(CONTROL)
    return timeout.try_call([] { return std::make_unique<std::mutex>(); }) ? 0 : 1;
#else
    return timeout.try_call([] { return std::mutex(); }) ? 0 : 1;
#endif
}
