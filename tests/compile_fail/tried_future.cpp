// expect: resilience: a callable that returns a std::future cannot be retried or timed
// most lines: 14
#include <resilience/retry.hpp>

#include <future>

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    const auto out = retry.try_call([] { return std::async([] { return 1; }).get(); });
#else
    const auto out = retry.try_call([] { return std::async([] { return 1; }); });
#endif
    return out.has_value() ? 0 : 1;
}
