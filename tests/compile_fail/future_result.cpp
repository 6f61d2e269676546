// expect: resilience: a callable that returns a std::future cannot be retried or timed
// most lines: 14
// Its failure comes after the call, where no policy looks.
#include <resilience/retry.hpp>

#include <future>

int main() {
    const resilience::retry retry;
    std::promise<int> promise;
#ifdef CONTROL
    promise.set_value(1);
    retry([&] { return promise.get_future().get(); });
#else
    retry([&] { return promise.get_future(); });
#endif
}
